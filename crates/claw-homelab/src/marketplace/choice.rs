//! Which value each variable of an install gets.

use std::collections::BTreeMap;

use claw_core::{ErrorCode, Secret};

use super::{App, Generate, MarketplaceError, Result, values, values::check as check_value};

/// Most variables that a caller may give.
pub(crate) const MAX_VARIABLES: usize = 200;

/// What the variables of an install are.
pub(crate) struct Chosen {
    pub(crate) values: BTreeMap<String, String>,
    pub(crate) secrets: Vec<String>,
    pub(crate) generated: Vec<(String, Secret)>,
    /// Names of values that the app does not know.
    pub(crate) extra: Vec<String>,
    /// Names of secrets that were there before.
    pub(crate) reused: Vec<String>,
}

impl Chosen {
    /// Tells passwords as new that were made up for this very install: whoever asked for it may never have got the
    /// answer, because the server ended or they hung up.
    pub(crate) fn tell_again(&mut self, made_up: &[String]) {
        let (again, reused) =
            std::mem::take(&mut self.reused).into_iter().partition(|name| made_up.contains(name));
        self.reused = reused;
        for name in again {
            let value = Secret::new(self.values[&name].clone());
            self.generated.push((name, value));
        }
    }
}

/// Gives every variable of an app its value: the given one, the one from before, one made up, or the default.
pub(crate) fn choose(
    app: &App,
    mut given: BTreeMap<String, String>,
    mut kept: BTreeMap<String, String>,
) -> Result<Chosen> {
    if given.len() > MAX_VARIABLES {
        let message = format!("`environment` has more than {MAX_VARIABLES} members");
        return Err(MarketplaceError::invalid(ErrorCode::InvalidEnv, message));
    }
    given.iter().try_for_each(|(name, value)| check_value(name, value))?;
    let mut chosen = Chosen {
        values: BTreeMap::new(),
        secrets: Vec::new(),
        generated: Vec::new(),
        extra: Vec::new(),
        reused: Vec::new(),
    };
    let mut missing = Vec::new();
    for variable in &app.about.variables {
        let name = variable.name.clone();
        if variable.is_secret() {
            chosen.secrets.push(name.clone());
        }
        let given = given.remove(&name).filter(|value| !value.is_empty() || !variable.required);
        let kept = kept.remove(&name).filter(|value| !value.is_empty() && variable.is_secret());
        let value = match (given, kept, variable.generate, &variable.default) {
            (Some(given), ..) => given,
            (None, Some(kept), ..) => {
                chosen.reused.push(name.clone());
                kept
            }
            (None, None, Some(Generate::Password), _) => {
                let password = values::password();
                chosen.generated.push((name.clone(), Secret::new(password.clone())));
                password
            }
            (None, None, None, Some(default)) => default.clone(),
            (None, None, None, None) if variable.required => {
                missing.push((name, variable.description.clone()));
                continue;
            }
            (None, None, None, None) => String::new(),
        };
        chosen.values.insert(name, value);
    }
    if !missing.is_empty() {
        return Err(MarketplaceError::VariablesRequired { app: app.about.name.clone(), missing });
    }
    chosen.extra = given.keys().cloned().collect();
    // Nobody said what they are, so they are kept like secrets.
    chosen.secrets.extend(given.keys().cloned());
    chosen.values.extend(given);
    Ok(chosen)
}
