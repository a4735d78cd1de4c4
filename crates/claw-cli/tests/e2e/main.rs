//! From the binary to the model and back: the real server, the real Claude Code CLI in the real sandbox, and a model
//! API that plays a script. Needs Docker, the sandbox image and git: run `scripts/test`.

mod bad_days;
mod deploy;
mod dialogues;
mod disk;
mod docker_away;
mod failures;
mod homelab;
mod homelab_by_hand;
mod local;
mod main_job;
mod operations;
mod proxies;
mod set_up;
mod setting;
mod skill;
mod traces;
mod upkeep;
mod versions;
mod warm;
mod without_docker;
