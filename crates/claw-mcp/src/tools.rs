//! Every tool, in the order of their names.

mod activity;
mod apps;
mod containers;
mod images;
mod jobs;
mod schema;
mod system;
mod templates;
pub(crate) mod text;
mod workspaces;

use crate::{Call, Effect, Failure, Need, Outcome, Tool};

/// What most tools have in common: they read, take nothing, and answer at once.
const TOOL: Tool = Tool {
    name: "",
    description: "",
    need: Need::AnyKey,
    effect: Effect::Reads,
    open_world: false,
    long: false,
    input: schema::nothing,
    output: || serde_json::json!({ "type": "object" }),
    run: |_: Call| Box::pin(async { Err::<Outcome, _>(Failure::new("this tool does nothing")) }),
};

/// Every tool, in the order of their names.
pub static ALL: &[Tool] = &[
    apps::APP_LOGS,
    apps::APP_STATUS,
    apps::BROWSE_MARKETPLACE,
    jobs::CANCEL_JOB,
    system::CHECK_SCOPES,
    containers::CONTAINER_CONFIG,
    containers::CONTAINER_LOGS,
    containers::CONTAINER_STATS,
    containers::CREATE_CONTAINER,
    containers::DELETE_CONTAINER,
    images::DELETE_IMAGE,
    templates::DELETE_TEMPLATE,
    templates::DEPLOY_TEMPLATE,
    containers::EXEC_CONTAINER,
    apps::GET_MARKETPLACE_APP,
    templates::GET_TEMPLATE,
    apps::INSTALL_APP,
    jobs::JOB_LOGS,
    jobs::JOB_RESULT,
    jobs::JOB_STATUS,
    containers::LIST_CONTAINERS,
    workspaces::LIST_FILES,
    system::LIST_HOSTS,
    images::LIST_IMAGES,
    apps::LIST_INSTALLED_APPS,
    jobs::LIST_JOBS,
    templates::LIST_TEMPLATES,
    workspaces::LIST_WORKSPACES,
    images::PULL_IMAGE,
    workspaces::READ_FILE,
    activity::RECENT_ACTIVITY,
    apps::RESTART_APP,
    containers::RESTART_CONTAINER,
    templates::SAVE_TEMPLATE,
    apps::START_APP,
    containers::START_CONTAINER,
    apps::STOP_APP,
    containers::STOP_CONTAINER,
    jobs::SUBMIT_JOB,
    system::SYSTEM_INFO,
    system::SYSTEM_METRICS,
    apps::UNINSTALL_APP,
    apps::UPDATE_APP,
    workspaces::WORKSPACE_HISTORY,
];

/// Returns the tool with this name.
pub fn find(name: &str) -> Option<&'static Tool> {
    ALL.iter().find(|tool| tool.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_stand_in_the_order_of_their_names_and_none_is_there_twice() {
        assert!(ALL.is_sorted_by(|a, b| a.name < b.name));
    }
}
