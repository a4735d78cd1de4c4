//! What looks like a secret is not shown.

/// Stands in the place of a secret.
pub const MASK: &str = "********";

/// Shortest value that is looked for in logs: shorter ones are ordinary words.
const MIN_SECRET_BYTES: usize = 8;

/// Parts of names whose values are secrets. Compared without `_`, `-` and `.`, in upper case.
const SECRET_PARTS: [&str; 16] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "APIKEY",
    "PRIVATEKEY",
    "ACCESSKEY",
    "ENCRYPTIONKEY",
    "CREDENTIAL",
    "AUTHKEY",
    "CLAIM",
    "COOKIE",
    "SIGNINGKEY",
    "MASTERKEY",
    "BASICAUTH",
];

/// Ends of names whose values are secrets.
const SECRET_ENDS: [&str; 8] = ["PASS", "PWD", "KEY", "SALT", "AUTH", "DSN", "PIN", "JWT"];

/// Tells whether what goes by this name is a secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let plain: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase).collect();
    SECRET_PARTS.iter().any(|part| plain.contains(part)) || SECRET_ENDS.iter().any(|end| plain.ends_with(end))
}

/// Returns what may be shown of the value of a variable, label or option of this name.
pub(crate) fn shown_value(name: &str, value: &str) -> String {
    if value.is_empty() {
        String::new()
    } else if is_secret_name(name) {
        MASK.to_owned()
    } else {
        without_password(value)
    }
}

/// Hides the password of addresses such as `postgres://user:password@host`.
fn without_password(value: &str) -> String {
    let mut shown = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        let end = after.find(['/', '?', '#', ' ', '"', '\'', ',']).unwrap_or(after.len());
        let (authority, following) = after.split_at(end);
        match authority.rsplit_once('@').map(|(user, host)| (user.split_once(':'), host)) {
            Some((Some((user, _password)), host)) => {
                shown.push_str(user);
                shown.push(':');
                shown.push_str(MASK);
                shown.push('@');
                shown.push_str(host);
            }
            Some((None, _)) | None => shown.push_str(authority),
        }
        rest = following;
    }
    shown.push_str(rest);
    shown
}

/// Returns what may be shown of a command line: values of options that are named like secrets are hidden.
pub(crate) fn shown_arguments(arguments: &[String]) -> Vec<String> {
    let mut hide_next = false;
    arguments
        .iter()
        .map(|argument| {
            if std::mem::take(&mut hide_next) && !argument.starts_with('-') {
                return MASK.to_owned();
            }
            match argument.split_once('=') {
                Some((name, value)) if is_option_or_variable(name) => {
                    format!("{name}={}", shown_value(name, value))
                }
                _ => {
                    hide_next = argument.starts_with('-') && is_secret_name(argument);
                    without_password(argument)
                }
            }
        })
        .collect()
}

fn is_option_or_variable(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// Returns the values of these variables that must not be seen in what the container writes.
pub(crate) fn secret_values<'a>(environment: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<&'a str> {
    let mut values: Vec<_> = environment
        .into_iter()
        .filter(|(name, value)| value.len() >= MIN_SECRET_BYTES && is_secret_name(name))
        .map(|(_, value)| value)
        .collect();
    // The longest first, so that a secret that is part of another leaves nothing of that one.
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    values
}

/// Hides these values in a text.
pub(crate) fn hide(mut text: String, secrets: &[&str]) -> String {
    for secret in secrets {
        if text.contains(secret) {
            text = text.replace(secret, MASK);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a19_what_is_named_like_a_secret_is_hidden_and_the_rest_is_not() {
        for name in [
            "POSTGRES_PASSWORD",
            "db_passwd",
            "MYSQL_PWD",
            "API_KEY",
            "apiKey",
            "SECRET_KEY_BASE",
            "GITHUB_TOKEN",
            "PLEX_CLAIM",
            "traefik.http.middlewares.x.basicauth.users",
            "WIREGUARD_PRIVATE_KEY",
            "SENTRY_DSN",
            "KEY",
            "DB_PASS",
            "OPENVPN_PASSWORD",
            "ADMIN_TOKEN",
            "JWT_SECRET",
        ] {
            assert_eq!(shown_value(name, "hunter22"), MASK, "{name}");
        }
        for name in ["TZ", "PUID", "PATH", "OLLAMA_HOST", "KEYBOARD", "PASSENGERS", "HOSTNAME", "LANG"] {
            assert_eq!(shown_value(name, "value"), "value", "{name}");
        }
        assert_eq!(shown_value("API_KEY", ""), "");
    }

    #[test]
    fn t12_passwords_in_addresses_are_hidden_wherever_they_stand() {
        for (value, shown) in [
            ("postgres://ann:hunter2@db:5432/x", "postgres://ann:********@db:5432/x"),
            ("a://u:p@h, b://v:q@i/j", "a://u:********@h, b://v:********@i/j"),
            ("redis://:hunter2@cache", "redis://:********@cache"),
            ("http://u:p@ss@host/", "http://u:********@host/"),
            ("http://host:80/a@b:c", "http://host:80/a@b:c"),
            ("no address: a@b", "no address: a@b"),
        ] {
            assert_eq!(shown_value("URL", value), shown);
        }
    }

    #[test]
    fn t12_secrets_in_command_lines_are_hidden() {
        let arguments =
            ["serve", "--password=hunter2", "--token", "hunter2", "--verbose", "-v", "--secret", "--x"];
        let arguments: Vec<_> = arguments.map(str::to_owned).into();

        assert_eq!(
            shown_arguments(&arguments),
            ["serve", "--password=********", "--token", "********", "--verbose", "-v", "--secret", "--x"]
        );
    }

    #[test]
    fn a19_secrets_of_a_container_are_hidden_in_what_it_writes() {
        let environment = [("DB_PASSWORD", "correct horse"), ("SHORT_KEY", "abc"), ("TZ", "Europe/Berlin")];

        let secrets = secret_values(environment);

        let text = hide("login correct horse at Europe/Berlin abc".into(), &secrets);
        assert_eq!(text, "login ******** at Europe/Berlin abc");
    }
}
