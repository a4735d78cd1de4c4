//! Tests of the layers as a whole.

use super::*;

fn home<const N: usize>(pairs: [(&str, &str); N]) -> Environment {
    let mut all = vec![("HOME", "/home/me")];
    all.extend(pairs);
    let mut environment = Environment::default();
    for (name, value) in all {
        environment.insert(name, value);
    }
    environment
}

fn file(text: &str) -> ConfigFile {
    ConfigFile::parse("/etc/test.toml".into(), text).expect("a configuration file")
}

fn flags(assignments: &[&str]) -> Overrides {
    let mut overrides = Overrides::default();
    for assignment in assignments {
        overrides.set_any(assignment).expect("a setting");
    }
    overrides
}

fn merge(assignments: &[&str], environment: &Environment, text: &str) -> Result<Settings, String> {
    Settings::merge(&flags(assignments), environment, Some(&file(text))).map_err(|error| error.to_string())
}

#[test]
fn without_anything_set_the_defaults_hold() {
    let settings = Settings::merge(&Overrides::default(), &home([]), None).expect("settings");

    insta::assert_debug_snapshot!(settings);
}

#[test]
fn a_flag_comes_before_a_variable_before_the_file_before_the_default() {
    let memory = |outcome: Result<Settings, String>| outcome.expect("settings").sandbox.memory.0 >> 30;
    let variable = home([("CLAW_SANDBOX_MEMORY", "2g")]);
    let text = "[sandbox]\nmemory = \"3g\"";

    assert_eq!(memory(merge(&["sandbox.memory=1g"], &variable, text)), 1);
    assert_eq!(memory(merge(&[], &variable, text)), 2);
    assert_eq!(memory(merge(&[], &home([]), text)), 3);
    assert_eq!(memory(merge(&[], &home([]), "")), 4);
}

#[test]
fn every_setting_can_be_given_by_flag_variable_and_file() {
    for setting in all() {
        let (Initial::Default(literal) | Initial::Example(literal)) = setting.initial;
        let value = layers::parse_literal(literal).expect(setting.key);
        let text = match &value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Array(_) => continue,
            other => other.to_string(),
        };
        // Two settings go only together; give both.
        let pair = [("CLAW_ADMIN_USER", "a"), ("CLAW_ADMIN_PASSWORD", "b")];
        for variable in setting.variables {
            let mut environment = home(pair);
            environment.insert(variable, &text);
            Settings::merge(&Overrides::default(), &environment, None).expect(variable);
        }
        assert!(!setting.variables.is_empty(), "{} has no variable", setting.key);
        if !setting.is_secret {
            Settings::merge(&flags(&[&format!("{}={text}", setting.key)]), &home(pair), None)
                .expect(setting.key);
        }
    }
}

#[test]
fn no_variable_sets_two_settings() {
    let mut names: Vec<_> = all().flat_map(|setting| setting.variables).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();

    assert_eq!(names.len(), count);
}

#[test]
fn a_port_variable_changes_the_port_alone_and_yields_to_a_whole_address() {
    let listen = |environment: &Environment, text| {
        merge(&[], environment, text).expect("settings").server.listen.to_string()
    };
    let everywhere = "listen = \"0.0.0.0:80\"";

    assert_eq!(listen(&home([("CLAW_API_PORT", "8080")]), ""), "127.0.0.1:8080");
    assert_eq!(listen(&home([("PORT", "8081")]), everywhere), "0.0.0.0:8081");
    assert_eq!(listen(&home([("PORT", "1"), ("CLAW_API_PORT", "2")]), ""), "127.0.0.1:2");
    assert_eq!(listen(&home([("PORT", "1"), ("CLAW_LISTEN", "[::1]:3")]), everywhere), "[::1]:3");
    let error = merge(&[], &home([("PORT", "http")]), "").expect_err("no port");
    assert_eq!(error, "the variable PORT = `http` cannot be used: expected a port from 0 to 65535");
}

#[test]
fn b13_variables_of_a_wagmios_installation_are_honored_after_our_own() {
    let old = [
        ("WAGMIOS_DATA_DIR", "/app/data"),
        ("WAGMIOS_CONTAINER_CONTAINERS_DIR", "/app/data/containers"),
        ("WAGMIOS_HOST_CONTAINERS_DIR", "/home/me/.wagmios/containers"),
        ("WAGMIOS_MARKETPLACE_URL", "https://apps.example/manifest.json"),
        ("PORT", "5180"),
    ];
    let settings = merge(&[], &home(old), "").expect("settings");
    assert_eq!(settings.server.data_dir, Path::new("/app/data"));
    assert_eq!(settings.server.listen.port(), 5180);
    assert_eq!(settings.containers_dir(), Path::new("/app/data/containers"));
    assert_eq!(settings.host_containers_dir(), Path::new("/home/me/.wagmios/containers"));
    let url = settings.homelab.marketplace_url.expect("an address").0;
    assert_eq!(url, "https://apps.example/manifest.json");

    let mut both = home(old);
    both.insert("CLAW_DATA_DIR", "/srv/claw");
    both.insert("CLAW_HOST_CONTAINERS_DIR", "/srv/apps");
    let settings = merge(&[], &both, "").expect("settings");
    assert_eq!(settings.server.data_dir, Path::new("/srv/claw"));
    assert_eq!(settings.host_containers_dir(), Path::new("/srv/apps"));
}

#[test]
fn the_apps_folder_is_in_the_data_folder_and_docker_sees_it_there_unless_told_otherwise() {
    let folders = |pairs: &[(&str, &str)]| {
        let mut environment = home([("CLAW_DATA_DIR", "/data")]);
        pairs.iter().for_each(|(name, value)| environment.insert(name, value));
        let settings = merge(&[], &environment, "").expect("settings");
        let shown = |path: PathBuf| path.display().to_string();
        (shown(settings.containers_dir()), shown(settings.host_containers_dir()))
    };
    let both = |here: &str, there: &str| (here.to_owned(), there.to_owned());

    assert_eq!(folders(&[]), both("/data/containers", "/data/containers"));
    assert_eq!(folders(&[("CLAW_CONTAINERS_DIR", "/apps")]), both("/apps", "/apps"));
    assert_eq!(folders(&[("WAGMIOS_HOST_PATH", "/host")]), both("/data/containers", "/host/containers"));
    let elsewhere = [("CLAW_HOST_DATA_DIR", "/host"), ("CLAW_CONTAINERS_DIR", "/apps")];
    assert_eq!(folders(&elsewhere), both("/apps", "/apps"));
    let relative = merge(&["homelab.host_containers_dir=apps"], &home([]), "").expect_err("no path");
    assert_eq!(relative, "`homelab.host_containers_dir` must be an absolute path");
}

#[test]
fn the_policy_is_the_named_file_or_the_one_in_the_data_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = format!("data_dir={}", folder.path().display());
    let policy = |more: &[&str]| {
        let all = [&[data_dir.as_str()][..], more].concat();
        merge(&all, &home([]), "").expect("settings").policy_file()
    };

    assert_eq!(policy(&[]), None);
    assert_eq!(policy(&["homelab.policy=~/p.toml"]), Some("/home/me/p.toml".into()));
    let file = folder.path().join("policy.toml");
    std::fs::write(&file, "").expect("a file");
    assert_eq!(policy(&[]), Some(file));
}

#[test]
fn a_value_that_cannot_be_used_is_named_with_its_key_origin_and_what_was_expected() {
    for (assignments, pairs, text, expected) in [
        (
            &["workers=0"][..],
            [("X", "")],
            "",
            "`workers` (from the flag --set workers=…) = `0` cannot be used: expected a whole number from 1 to 256",
        ),
        (
            &[],
            [("CLAW_EXECUTION_BACKEND", "host")],
            "",
            "`execution_backend` (from the variable CLAW_EXECUTION_BACKEND) = `host` cannot be used: expected `docker` or `local`",
        ),
        (
            &[],
            [("X", "")],
            "[sandbox]\nnetwork = true",
            "`sandbox.network` (from /etc/test.toml) = `true` cannot be used: expected `none` or `bridge`",
        ),
        (
            &[],
            [("X", "")],
            "[listen]\nx = 1",
            "`listen` (from /etc/test.toml) = `{ x = 1 }` cannot be used: expected an IP address and port such as `127.0.0.1:5179`, `0.0.0.0:5179` or `[::1]:5179`",
        ),
        (
            &[],
            [("ANTHROPIC_API_KEY", "sk-ant\n")],
            "",
            "`model.api_key` (from the variable ANTHROPIC_API_KEY) cannot be used: expected a text without line breaks",
        ),
        (
            &[],
            [("CLAW_DEFAULT_MAX_BUDGET_USD", "20")],
            "[jobs]\nmax_budget_usd = 10",
            "`jobs.default_max_budget_usd` is above `jobs.max_budget_usd`",
        ),
        (&[], [("CLAW_ADMIN_USER", "me")], "", "`admin_user` and `admin_password` must be set together"),
    ] {
        assert_eq!(merge(assignments, &home(pairs), text).expect_err(expected), expected);
    }
}

#[test]
fn without_a_home_folder_the_data_needs_a_place_of_its_own() {
    let error = Settings::merge(&Overrides::default(), &Environment::default(), None).expect_err("no home");
    assert!(error.to_string().contains("CLAW_DATA_DIR"), "{error}");

    let environment = Environment::from([("CLAW_DATA_DIR", "/srv/claw")]);
    Settings::merge(&Overrides::default(), &environment, None).expect("settings");
}

#[test]
fn a_name_that_does_not_exist_is_refused_with_the_nearest_one_that_does() {
    for (text, expected) in [
        (
            "[sandbox]\nmemry = 1",
            "f sets `sandbox.memry`, which does not exist; did you mean `sandbox.memory`?",
        ),
        ("listn = 1", "f sets `listn`, which does not exist; did you mean `listen`?"),
        (
            "[redis]\nurl = 1",
            "f sets `redis`, which does not exist; `claw config sample` prints all settings",
        ),
        ("sandbox = 1", "f sets `sandbox`, which does not exist; `claw config sample` prints all settings"),
    ] {
        let error = ConfigFile::parse("f".into(), text).expect_err(text).to_string();
        assert_eq!(error, expected);
    }
    let error = Overrides::default().set_any("worker=2").expect_err("no such setting").to_string();
    assert_eq!(error, "--set sets `worker`, which does not exist; did you mean `workers`?");
}

#[test]
fn a_secret_is_refused_on_the_command_line_and_shown_nowhere() {
    let error = Overrides::default().set_any("api_token=hunter2").expect_err("a secret").to_string();
    assert!(error.contains("CLAW_API_TOKEN") && !error.contains("hunter2"), "{error}");

    let environment = home([
        ("CLAW_API_TOKEN", "hunter2-token"),
        ("CLAW_ADMIN_USER", "me"),
        ("CLAW_ADMIN_PASSWORD", "hunter2-password"),
        ("ANTHROPIC_API_KEY", "hunter2-key"),
        ("CLAUDE_CODE_OAUTH_TOKEN", "hunter2-oauth"),
    ]);
    let settings = Settings::merge(&Overrides::default(), &environment, None).expect("settings");
    assert_eq!(settings.model.oauth_token.as_ref().map(Secret::expose), Some("hunter2-oauth"));
    assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");

    let broken = ConfigFile::parse("f".into(), "api_token = \"hunter2").expect_err("no TOML").to_string();
    assert!(broken.starts_with("f is not valid TOML") && !broken.contains("hunter2"), "{broken}");
}

#[test]
fn the_sample_loads_and_changes_nothing() {
    let sample = sample();
    let defaults = Settings::merge(&Overrides::default(), &home([]), None).expect("settings");

    let loaded = Settings::merge(&Overrides::default(), &home([]), Some(&file(&sample))).expect("settings");

    assert_eq!(format!("{loaded:?}"), format!("{defaults:?}"));
    insta::assert_snapshot!(sample);
}

#[test]
fn the_sample_still_loads_with_every_line_made_active() {
    let active: String = sample()
        .lines()
        .map(|line| {
            let is_setting =
                line.strip_prefix('#').is_some_and(|rest| !rest.starts_with(' ') && rest.contains(" = "));
            if is_setting { format!("{}\n", &line[1..]) } else { format!("{line}\n") }
        })
        .collect();

    let settings = Settings::merge(&Overrides::default(), &home([]), Some(&file(&active))).expect("settings");

    assert_eq!(settings.jobs.default_max_budget, Some(Dollars(10.0)));
    assert_eq!(all().filter(|setting| file(&active).get(setting.key).is_none()).count(), 0);
}

#[test]
fn the_documents_name_no_setting_and_no_variable_that_does_not_exist() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let docs = std::fs::read_dir(format!("{root}/docs")).expect("the documents");
    let docs = docs.map(|entry| entry.expect("an entry").path());
    let all_of_them = docs.chain(["README.md", "SECURITY.md"].map(|name| Path::new(root).join(name)));
    let read_elsewhere = ["CLAW_API_KEY", "CLAW_API_URL", "CLAW_API_PORT", "CLAW_CONFIG"];
    let mut named = 0;
    for path in all_of_them.filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let text = std::fs::read_to_string(&path).expect("a document");
        // What stands between backticks: every second piece.
        for code in text.split('`').skip(1).step_by(2) {
            for word in code.split(|c: char| !(c.is_ascii_alphanumeric() || "_.".contains(c))) {
                let is_variable = word.starts_with("CLAW_");
                let is_setting = word.split_once('.').is_some_and(|(section, _)| is_section(section));
                let exists = read_elsewhere.contains(&word)
                    || all().any(|setting| setting.key == word || setting.variables.contains(&word));
                assert!(exists || !(is_variable || is_setting), "{} names `{word}`", path.display());
                named += usize::from(is_variable || is_setting);
            }
        }
    }
    assert!(named > 10, "the documents name settings");
}

#[test]
fn the_named_file_must_exist_and_the_others_need_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let environment = home([]);

    let error = ConfigFile::find(Some(Path::new("/nowhere/x.toml")), &environment, folder.path());
    assert!(
        error
            .expect_err("no such file")
            .to_string()
            .starts_with("cannot read the configuration file /nowhere")
    );

    std::fs::write(folder.path().join("clawmachine.toml"), "workers = 7").expect("a file");
    let found = ConfigFile::find(None, &environment, folder.path()).expect("readable").expect("found");
    assert_eq!(found.get("workers").and_then(toml::Value::as_integer), Some(7));
}
