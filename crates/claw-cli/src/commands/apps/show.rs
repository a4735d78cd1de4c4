//! `claw apps show`.

use claw_client::{
    Client,
    homelab::{AppDetails, AppVariable},
};

use crate::{
    context::Context,
    error::CliError,
    output::Output,
    untrusted::{clean, clean_line},
};

pub(super) async fn run(
    context: &Context,
    client: &Client,
    app: &str,
    compose: bool,
) -> Result<(), CliError> {
    let details = client.app(app).await?;
    let output = &context.output;
    if compose && !output.json {
        return Ok(output.bytes(clean(&details.compose).as_bytes())?);
    }
    output.answer(&details, |details| print(output, details))
}

fn print(output: &Output, app: &AppDetails) -> std::io::Result<()> {
    output.line(format!("{}: {}", clean_line(&app.name, 60), clean_line(&app.description, 300)))?;
    let ports = app.template.ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    let facts = [
        ("id", &app.id),
        ("category", &app.category),
        ("version", &app.meta.version),
        ("image", &app.template.image),
        ("ports", &ports),
        ("website", &app.meta.website),
    ];
    for (name, value) in facts {
        if !value.is_empty() {
            output.line(format!("{name:<10} {}", clean_line(value, 200)))?;
        }
    }
    let volumes = app.template.volumes.iter();
    for volume in volumes {
        let text = format!("{} at {}", volume.name, volume.description);
        output.line(format!("{:<10} {}", "data", clean_line(&text, 200)))?;
    }
    for variable in &app.template.environment {
        output.line(format!("{:<10} {}", "variable", clean_line(&line(variable), 300)))?;
    }
    let reason = app.grants.get("reason").and_then(|reason| reason.as_str());
    if let Some(reason) = reason {
        output.line(format!(
            "{:<10} {}",
            "powers",
            clean_line(&format!("beyond the policy. {reason}"), 300)
        ))?;
    }
    for note in &app.notes {
        output.line(format!("{:<10} {}", "note", clean_line(note, 500)))?;
    }
    Ok(())
}

/// One variable: its name, what it is for, and what becomes of it when it is not said.
fn line(variable: &AppVariable) -> String {
    let AppVariable { name, description, required, default, generate, .. } = variable;
    let otherwise = match (required, generate, default.as_deref()) {
        (_, Some(_), _) => " [made up]".to_owned(),
        (true, None, _) => " [required]".to_owned(),
        (false, None, Some(default)) if !default.is_empty() => format!(" [default: {default}]"),
        (false, None, _) => String::new(),
    };
    format!("{name}: {description}{otherwise}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_says_whether_it_has_to_be_given() {
        let variable = |required, default: Option<&str>, generate: Option<&str>| {
            line(&AppVariable {
                name: "A".into(),
                description: "What.".into(),
                required,
                default: default.map(Into::into),
                generate: generate.map(Into::into),
                secret: false,
            })
        };

        assert_eq!(variable(true, None, None), "A: What. [required]");
        assert_eq!(variable(true, None, Some("password")), "A: What. [made up]");
        assert_eq!(variable(false, Some("1"), None), "A: What. [default: 1]");
        assert_eq!(variable(false, Some(""), None), "A: What.");
    }
}
