//! What may be run inside of a container that runs.
//!
//! Whoever runs a program in a container has everything the container has. So the container as it is now is judged as if
//! it were asked for, together with what is asked for the program: in one that could not be made, nothing is run.

use super::{ContainerWish, Facts, Grants, Policy, Present, Refusal, Refused, path};

/// Rules about what does not become more by running one more program: what the container is called, made from and labeled,
/// how its output is kept, and how much it may take.
const BESIDE_THE_POINT: &[&str] =
    &["name.", "image.", "hostname.", "labels.", "hosts.", "dns.", "log.", "limits."];

/// A program to be run in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecWish {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables beyond the container's own.
    pub environment: Vec<(String, String)>,
    /// User and group inside, by name or number. Without one, the container's own.
    pub user: Option<String>,
    /// Folder inside to start in. Without one, the container's own.
    pub working_dir: Option<String>,
}

/// A program that the policy permits in one container. Only the judge makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovedExec {
    container: String,
    wish: ExecWish,
}

impl ApprovedExec {
    /// Returns the full id of the container.
    pub fn container(&self) -> &str {
        &self.container
    }

    /// Returns what will be run.
    pub fn wish(&self) -> &ExecWish {
        &self.wish
    }
}

impl Policy {
    /// Judges a program that is to be run in a container as that is now. Pure: `facts`, gathered for
    /// [`Present::wish`], is all it knows of the host.
    ///
    /// # Errors
    ///
    /// Returns every rule that the container or the program breaks.
    pub fn judge_exec(
        &self,
        wish: &ExecWish,
        present: &Present,
        facts: &Facts,
        grants: &Grants,
    ) -> Result<ApprovedExec, Refused> {
        let mut refusals = present.unknown.clone();
        if wish.command.first().is_none_or(|program| program.is_empty()) {
            refusals.push(Refusal {
                rule: "exec.command",
                field: "command".to_owned(),
                message: "no program is named".to_owned(),
                permit: None,
            });
        }
        let result = ContainerWish {
            command: Some(wish.command.clone()),
            environment: wish.environment.clone(),
            user: wish.user.clone(),
            working_dir: wish.working_dir.clone(),
            ..present.wish.clone()
        };
        if let Err(refused) = self.judge(&result, facts, grants) {
            let counts =
                |refusal: &Refusal| !BESIDE_THE_POINT.iter().any(|prefix| refusal.rule.starts_with(prefix));
            refusals.extend(refused.refusals.into_iter().filter(counts));
        }
        if !refusals.is_empty() {
            return Err(Refused { refusals });
        }
        let normal = |folder: &String| path::normal(folder).map_or_else(|| folder.clone(), Into::into);
        let wish = ExecWish { working_dir: wish.working_dir.as_ref().map(normal), ..wish.clone() };
        Ok(ApprovedExec { container: present.entry.id.clone(), wish })
    }
}
