//! Puts the catalog of `marketplace/` into the program.

use std::{env, fmt::Write as _, fs, path::Path};

#[expect(clippy::disallowed_methods, reason = "how Cargo tells a build script where to write")]
fn main() {
    let marketplace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../marketplace");
    println!("cargo:rerun-if-changed={}", marketplace.display());
    let mut apps: Vec<_> = fs::read_dir(&marketplace)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    apps.retain(|folder| folder.join("app.toml").is_file() && folder.join("compose.yaml").is_file());
    apps.sort();
    let mut source = String::from("&[\n");
    for folder in apps {
        let folder = folder.canonicalize().expect("a folder that was just listed");
        let file = |name: &str| folder.join(name).display().to_string();
        let logo = match folder.join("logo.svg").is_file() {
            true => format!("Some(include_bytes!({:?}))", file("logo.svg")),
            false => "None".to_owned(),
        };
        writeln!(
            source,
            "    Entry {{ app: include_str!({:?}), compose: include_str!({:?}), logo: {logo} }},",
            file("app.toml"),
            file("compose.yaml"),
        )
        .expect("text grows");
    }
    source.push_str("]\n");
    let out = env::var_os("OUT_DIR").expect("a build script has a folder");
    fs::write(Path::new(&out).join("apps.rs"), source).expect("the build's own folder");
}
