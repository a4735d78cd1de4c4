//! `claw user`: people's accounts.

use clap::{Args, Subcommand};

use crate::{
    context::Context,
    error::CliError,
    prompt,
    render::{self, table::Table},
    untrusted::clean_line,
};

/// The commands of `claw user`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create an account; the password is asked for, or read from standard input
    Create {
        /// The name to log in with
        username: String,
        /// What the person may do
        #[arg(long, value_parser = ["user", "admin"], default_value = "user")]
        role: String,
    },
    /// List accounts
    List,
    /// Give a person another password, asked for or read from standard input; their sessions end
    Passwd {
        /// The name to log in with
        username: String,
    },
    /// List a person's sessions
    Sessions {
        /// The name to log in with
        username: String,
        /// End this one, by its id from the list
        #[arg(long, value_name = "ID")]
        end: Option<String>,
    },
    /// Delete an account; its sessions end
    Delete {
        /// The name to log in with
        username: String,
    },
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let client = context.client()?;
    let output = &context.output;
    match arguments.action {
        Action::Create { username, role } => {
            let password = prompt::read_new_password()?;
            let user = client.create_user(&username, &password, &role).await?;
            output.answer(&user, |user| {
                let (name, role) = (clean_line(&user.username, 100), clean_line(&user.role, 20));
                output.line(format!("{name} created with role {role}"))
            })
        }
        Action::List => {
            let users = client.users().await?;
            output.answer(&users, |users| {
                let mut table = Table::new(["USERNAME", "ROLE"]);
                for user in &users.items {
                    table.row([clean_line(&user.username, 100), clean_line(&user.role, 20)]);
                }
                table.print(output)
            })
        }
        Action::Passwd { username } => {
            let password = prompt::read_new_password()?;
            let answer = client.reset_password(&username, &password).await?;
            output.answer(&answer, |_| {
                output.line(format!("{} has a new password", clean_line(&username, 100)))
            })
        }
        Action::Sessions { username, end: Some(id) } => {
            let answer = client.end_session(&username, &id).await?;
            output.answer(&answer, |_| output.line(format!("{} ended", clean_line(&id, 100))))
        }
        Action::Sessions { username, end: None } => {
            let sessions = client.sessions(&username).await?;
            output.answer(&sessions, |sessions| {
                let mut table = Table::new(["ID", "SIGNED IN", "ENDS", "FROM"]);
                for session in &sessions.items {
                    table.row([
                        clean_line(&session.id, 64),
                        render::time(session.created_at),
                        render::time(session.expires_at),
                        clean_line(session.client.as_deref().unwrap_or("-"), 60),
                    ]);
                }
                table.print(output)
            })
        }
        Action::Delete { username } => {
            let answer = client.delete_user(&username).await?;
            output.answer(&answer, |_| output.line(format!("{} deleted", clean_line(&username, 100))))
        }
    }
}
