//! Namespaces other than the network's.

use super::{Case, host, quoted};
use crate::policy::{ContainerWish, rules::Namespace};

pub(super) fn judge(case: &mut Case<'_>, result: &mut ContainerWish) {
    judge_one(case, "pid", Namespace::Pid, &mut result.pid, &["", "private"]);
    // `none` is private as well, and without /dev/shm.
    let without_shm = result.ipc.as_deref() == Some("none");
    if !without_shm {
        judge_one(case, "ipc", Namespace::Ipc, &mut result.ipc, &["", "private"]);
    }
    judge_one(case, "uts", Namespace::Uts, &mut result.uts, &["", "private"]);
    judge_one(case, "userns", Namespace::User, &mut result.userns, &[""]);
    judge_one(case, "cgroupns", Namespace::Cgroup, &mut result.cgroupns, &["", "private"]);
}

/// Judges one namespace. `private` are the words for one of its own,
/// which is what a container gets that asks for nothing.
fn judge_one(
    case: &mut Case<'_>,
    field: &str,
    namespace: Namespace,
    asked: &mut Option<String>,
    private: &[&str],
) {
    match asked.as_deref() {
        None => {}
        Some(word) if private.contains(&word) => {}
        Some("host") if host::may_share(case, namespace) => return,
        Some("host") => return host::refuse_shared(case, namespace, field),
        Some(word) if is_foreign(word) => {
            let message =
                format!("{} is the {} namespace of another container", quoted(word), namespace.as_str());
            return case.refuse("namespaces.foreign", field, message);
        }
        Some(word) => {
            let message =
                format!("{} is no {} namespace that is known here", quoted(word), namespace.as_str());
            return case.refuse("namespaces.form", field, message);
        }
    }
    *asked = None;
}

/// The forms in which Docker, compose and Podman name somebody else's namespace.
pub(super) fn is_foreign(word: &str) -> bool {
    ["container:", "service:", "pod:", "ns:"].iter().any(|start| super::starts_with(word, start))
}
