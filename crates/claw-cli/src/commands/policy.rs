//! `claw policy`: what may be created on Docker, and why something may not.

use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueEnum};
use claw_core::Coded as _;
use claw_docker::{
    Docker,
    policy::{ContainerWish, Facts, Grants, Own, Policy, Refused},
};
use claw_homelab::{compose, container_wish};
use owo_colors::Style;
use serde_json::json;

use crate::{
    context::Context,
    error::CliError,
    output::Output,
    serve::{failed, homelab},
    settings::{Overrides, Settings},
    untrusted::clean_line,
};

/// Largest request that is read.
const MAX_REQUEST_BYTES: u64 = 1 << 20;

/// The commands of `claw policy`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Tell whether the policy of this machine's server permits a request, and which rules refuse it
    Explain(ExplainArguments),
    /// Show the policy of this machine's server
    Show,
    /// Print a policy file that changes nothing, with every line explained
    Sample,
}

#[derive(Debug, Args)]
struct ExplainArguments {
    /// What is asked for: the body of `POST /api/containers`, or a compose file; `-` reads standard input
    file: PathBuf,
    /// By which door; files that end in .yaml or .yml are compose files, everything else is a container
    #[arg(long, value_enum)]
    door: Option<Door>,
    /// A variable of the compose file; can be repeated
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, String)>,
}

/// Where a request comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Door {
    /// The body of `POST /api/containers`.
    Create,
    /// A compose file.
    Compose,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    match arguments.action {
        Action::Explain(arguments) => explain(arguments, context).await,
        Action::Show => show(context),
        Action::Sample => Ok(context.output.bytes(Policy::sample().as_bytes())?),
    }
}

fn show(context: &Context) -> Result<(), CliError> {
    let settings = context.settings(&Overrides::default())?;
    // Also for what it says about a file that cannot be used.
    homelab::policy(&settings)?;
    let output = &context.output;
    match settings.policy_file() {
        Some(path) => {
            let text = homelab::policy_text(&path)?;
            let shown = path.display().to_string();
            if output.json {
                return Ok(output.json(&json!({ "file": shown, "policy": text }).to_string())?);
            }
            output.note(format!("the policy in {shown}; what it does not say is as in `claw policy sample`"));
            Ok(output.bytes(text.as_bytes())?)
        }
        None => {
            if output.json {
                let value = json!({ "file": null, "policy": Policy::sample() });
                return Ok(output.json(&value.to_string())?);
            }
            output.note("there is no policy file: what this version allows by itself holds");
            Ok(output.bytes(Policy::sample().as_bytes())?)
        }
    }
}

async fn explain(arguments: ExplainArguments, context: &Context) -> Result<(), CliError> {
    let settings = context.settings(&Overrides::default())?;
    let policy = homelab::policy(&settings)?;
    let own = homelab::own(&settings);
    let text = read(&arguments.file)?;
    let wishes = match door(&arguments) {
        Door::Create => {
            let wish =
                container_wish(&text).map_err(|error| CliError::new(error.code(), error.to_string()))?;
            vec![("the container".to_owned(), wish)]
        }
        Door::Compose => services(&text, arguments.variables, &settings)?,
    };
    let facts = facts(&settings, &policy, &wishes, &own, &context.output).await?;
    let verdicts: Vec<_> = wishes
        .iter()
        .map(|(name, wish)| (name.as_str(), policy.judge(wish, &facts, &Grants::default()).err()))
        .collect();
    print(&verdicts, &context.output)?;
    match verdicts.into_iter().find_map(|(_, refused)| refused) {
        None => Ok(()),
        Some(refused) => Err(CliError::new(refused.code(), "the policy does not permit this")
            .with_hint("ask for less, or let an administrator change the policy: `claw policy sample` explains every line")),
    }
}

fn door(arguments: &ExplainArguments) -> Door {
    let is_compose = || {
        let extension = arguments.file.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("yaml" | "yml"))
    };
    arguments.door.unwrap_or_else(|| if is_compose() { Door::Compose } else { Door::Create })
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let mut text = Vec::new();
    let problem = |error: std::io::Error| CliError::usage(format!("cannot read {}: {error}", path.display()));
    match path.to_str() {
        Some("-") => std::io::stdin().lock().take(MAX_REQUEST_BYTES + 1).read_to_end(&mut text),
        _ => {
            std::fs::File::open(path).and_then(|file| file.take(MAX_REQUEST_BYTES + 1).read_to_end(&mut text))
        }
    }
    .map_err(problem)?;
    if text.len() as u64 > MAX_REQUEST_BYTES {
        return Err(CliError::usage(format!("{} is too large for a request", path.display())));
    }
    Ok(text)
}

/// Reads a compose file as the marketplace would, as if it were of an app named `example`.
fn services(
    text: &[u8],
    variables: Vec<(String, String)>,
    settings: &Settings,
) -> Result<Vec<(String, ContainerWish)>, CliError> {
    let text = std::str::from_utf8(text).map_err(|_| CliError::usage("a compose file is UTF-8 text"))?;
    let variables: BTreeMap<_, _> = variables.into_iter().collect();
    let wrong = |error: compose::ComposeError| CliError::new(error.code(), error.to_string());
    let folder = settings.host_containers_dir().join("example/example");
    let project = compose::parse(text, &variables).map_err(wrong)?.placed("claw-example", &folder);
    Ok(project.map_err(wrong)?.services.into_iter().map(|(name, service)| (name, service.wish)).collect())
}

/// Finds out what is true on this host. Without an Engine everything that depends on the host is refused, and a
/// warning tells.
async fn facts(
    settings: &Settings,
    policy: &Policy,
    wishes: &[(String, ContainerWish)],
    own: &Own,
    output: &Output,
) -> Result<Facts, CliError> {
    let (engine, certificates) = (&settings.server.docker_host, &settings.server.docker_cert_path);
    let docker = Docker::connect_with(engine.as_deref(), certificates.as_deref())
        .map_err(failed("preparing the way to Docker"))?;
    let wishes: Vec<_> = wishes.iter().map(|(_, wish)| wish.clone()).collect();
    match Facts::gather(&docker, policy, &wishes, own).await {
        Ok(mut facts) => {
            // What a project names itself is made before its containers are.
            for network in wishes.iter().flat_map(|wish| &wish.networks).filter(|name| is_example(name)) {
                facts.expect_network(network);
            }
            Ok(facts)
        }
        Err(error) => {
            output.warn(format!(
                "{error}; what depends on this host is refused here, whatever the policy says"
            ));
            Ok(Facts { own: own.clone(), ..Facts::default() })
        }
    }
}

fn is_example(network: &str) -> bool {
    network.starts_with("claw-example_")
}

fn print(verdicts: &[(&str, Option<Refused>)], output: &Output) -> Result<(), CliError> {
    if output.json {
        let services: Vec<_> =
            verdicts.iter().map(|(name, refused)| verdict_json(name, refused.as_ref())).collect();
        let permitted = verdicts.iter().all(|(_, refused)| refused.is_none());
        return Ok(output.json(&json!({ "permitted": permitted, "verdicts": services }).to_string())?);
    }
    for (name, refused) in verdicts {
        let name = clean_line(name, 60);
        let Some(refused) = refused else {
            output.line(format!("{name}: {}", output.stdout.paint(Style::new().green(), "permitted")))?;
            continue;
        };
        output.line(format!("{name}: {}", output.stdout.paint(Style::new().red(), "refused")))?;
        for refusal in &refused.refusals {
            let field = clean_line(&refusal.field, 80);
            output.line(format!("  {} at {field}: {}", refusal.rule, clean_line(&refusal.message, 400)))?;
            if let Some(permit) = &refusal.permit {
                output
                    .line(format!("    permitted by this line in the policy: {}", clean_line(permit, 200)))?;
            }
        }
    }
    Ok(())
}

fn verdict_json(name: &str, refused: Option<&Refused>) -> serde_json::Value {
    let refusals = refused.map(|refused| refused.refusals.as_slice()).unwrap_or_default();
    let refusals: Vec<_> = refusals
        .iter()
        .map(|refusal| {
            json!({
                "rule": refusal.rule, "field": refusal.field, "message": refusal.message, "permit": refusal.permit,
            })
        })
        .collect();
    json!({
        "name": name,
        "permitted": refused.is_none(),
        "code": refused.map(|refused| refused.code().as_str()),
        "refusals": refusals,
    })
}
