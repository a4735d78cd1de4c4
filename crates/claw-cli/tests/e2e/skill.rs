//! Every example of the agent skill, run as an agent would: each with a key that holds what the skill says it needs, and
//! nothing else.

#[expect(dead_code, reason = "shared with the tests that only read")]
#[path = "../it/skill/text.rs"]
mod text;

pub(crate) mod catalog;
pub(crate) mod engine;
#[expect(dead_code, reason = "shared with the tests of pulls")]
#[path = "../../../claw-server/tests/it/homelab/registry.rs"]
mod registry;
mod shape;
mod stage;

use self::{stage::Stage, text::page};

async fn run_the_examples_of(name: &str, at_least: usize) {
    let examples = page(name).examples();
    assert!(examples.len() >= at_least, "{name} was not read: {} examples", examples.len());
    let mut stage = Stage::new().await;

    for example in &examples {
        stage.run(example).await;
    }
}

#[tokio::test]
async fn the_examples_of_the_skill_itself_work() {
    run_the_examples_of("SKILL.md", 1).await;
}

#[tokio::test]
async fn the_examples_of_the_skills_api_reference_work() {
    run_the_examples_of("references/api.md", 25).await;
}

#[tokio::test]
async fn the_examples_of_the_skills_marketplace_reference_work() {
    run_the_examples_of("references/marketplace.md", 10).await;
}

#[tokio::test]
async fn the_examples_of_the_skills_reference_on_jobs_work() {
    run_the_examples_of("references/jobs.md", 14).await;
}
