//! Every tool, in the order of their names.

mod system;

use crate::Tool;

/// Every tool, in the order of their names.
pub static ALL: &[Tool] = &[system::CHECK_SCOPES, system::LIST_HOSTS];

/// Returns the tool with this name.
pub fn find(name: &str) -> Option<&'static Tool> {
    ALL.iter().find(|tool| tool.name == name)
}
