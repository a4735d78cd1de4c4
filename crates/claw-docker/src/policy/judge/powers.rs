//! What a container can do beyond an ordinary process: capabilities and security options.

use std::collections::BTreeSet;

use super::{Case, quoted, toml_text};
use crate::policy::{ContainerWish, capability};

pub(super) fn judge(case: &mut Case<'_>, result: &mut ContainerWish) {
    if result.privileged {
        let message =
            "a privileged container has the whole host; name the capabilities and devices it needs instead";
        case.refuse("powers.privileged", "privileged", message);
    }
    judge_capabilities(case, result);
    judge_security_options(case, result);
}

/// The result drops what we take away, and adds what is permitted beyond Docker's own.
fn judge_capabilities(case: &mut Case<'_>, result: &mut ContainerWish) {
    let mut dropped = BTreeSet::new();
    for name in &result.cap_drop {
        let name = capability::normal(name);
        if name != "ALL" && !capability::is_known(&name) && !capability::is_too_much(&name) {
            let message = format!("there is no capability {}", quoted(&name));
            case.refuse("powers.capability-unknown", "cap_drop", message);
        }
        dropped.insert(name);
    }
    let mut added = BTreeSet::new();
    for asked in &result.cap_add {
        let name = capability::normal(asked);
        if capability::is_given(&name) {
            added.insert(name);
            continue;
        }
        if capability::is_too_much(&name) {
            let message = format!("the capability {name} amounts to the whole host; nobody gets it");
            case.refuse("powers.capabilities", "cap_add", message);
        } else if !capability::is_known(&name) {
            case.refuse(
                "powers.capability-unknown",
                "cap_add",
                format!("there is no capability {}", quoted(asked)),
            );
        } else if case.rules.powers.capabilities.contains(&name)
            || case.grants.cap_add.iter().any(|granted| capability::normal(granted) == name)
        {
            added.insert(name);
        } else {
            let message = format!("the capability {name} is not permitted here");
            case.refuse_unless(
                "powers.capabilities",
                "cap_add",
                message,
                format!("powers.capabilities = [{}]", toml_text(&name)),
            );
        }
    }
    let drops_all = dropped.contains("ALL");
    if !drops_all {
        // What every container has anyway needs no adding, unless it is dropped in the same breath: Docker lets the
        // adding win.
        let regained: Vec<_> = dropped.intersection(&added).cloned().collect();
        for name in regained {
            dropped.remove(&name);
        }
        added.retain(|name| !capability::is_given(name));
        for name in capability::TAKEN_AWAY {
            if !added.contains(*name) {
                dropped.insert((*name).to_owned());
            }
        }
    } else {
        dropped = BTreeSet::from(["ALL".to_owned()]);
    }
    result.cap_add = added.into_iter().collect();
    result.cap_drop = dropped.into_iter().collect();
}

fn judge_security_options(case: &mut Case<'_>, result: &mut ContainerWish) {
    let mut may_gain = false;
    for (index, option) in result.security_opt.iter().enumerate() {
        match option.as_str() {
            "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges=true" => {}
            "no-new-privileges:false" | "no-new-privileges=false" if case.rules.powers.new_privileges => {
                may_gain = true
            }
            "no-new-privileges:false" | "no-new-privileges=false" => case.refuse_unless(
                "powers.security-options",
                format!("security_opt[{index}]"),
                "programs in the container could gain privileges",
                "powers.new_privileges = true",
            ),
            other => {
                let message = format!(
                    "the security option {} is not permitted: it could weaken the isolation",
                    quoted(other)
                );
                case.refuse("powers.security-options", format!("security_opt[{index}]"), message);
            }
        }
    }
    result.security_opt =
        vec![if may_gain { "no-new-privileges:false" } else { "no-new-privileges:true" }.to_owned()];
}
