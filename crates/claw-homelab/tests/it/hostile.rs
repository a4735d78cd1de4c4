//! Compose files that want more than they may have: none of them gets it, and each answer says why.

use std::collections::BTreeMap;

use claw_docker::policy::Grants;
use claw_homelab::{
    compose,
    corpus::{File, files},
};

use crate::catalog::judge;

#[test]
fn t1_t2_t3_t7_t9_no_compose_file_gets_more_than_the_policy_permits() {
    let cases = files();
    assert!(cases.len() >= 150, "{}", cases.len());
    let mut wrong = Vec::new();
    for File { name, text, because } in cases {
        let parsed = compose::parse(&text, &BTreeMap::new()).map_err(|error| error.to_string());
        match parsed.and_then(|project| judge(&project, &Grants::default())) {
            Ok(_) => wrong.push(format!("{name}: PERMITTED")),
            Err(reason) if !reason.contains(because) => wrong.push(format!("{name}: {reason}")),
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn t9_the_place_of_what_is_wrong_is_told() {
    let file = "services:\n  web:\n    image: nginx:1.27\n    ports:\n      - \"80:80\"\n      - \"x\"\n";

    let error = compose::parse(file, &BTreeMap::new()).expect_err("no port");

    assert_eq!((error.line, error.path.as_str()), (6, "services.web.ports[1]"));
}
