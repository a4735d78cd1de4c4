use claw_testkit::{DockerScope, require_docker};

#[test]
fn an_engine_answers() {
    require_docker();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "looks from outside, through Docker's own client")]
fn a_scope_removes_what_carries_its_label() {
    let scope = DockerScope::new();
    let name = scope.name("volume");
    let run = |arguments: &[&str]| {
        std::process::Command::new("docker")
            .args(arguments)
            .output()
            .expect("docker can be run")
            .status
            .success()
    };
    assert!(run(&["volume", "create", "--label", scope.label(), &name]));
    assert!(run(&["volume", "inspect", &name]));

    drop(scope);

    assert!(!run(&["volume", "inspect", &name]));
}
