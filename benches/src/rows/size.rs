//! The size of the release binary.

use super::Plan;
use crate::{
    Outcome,
    table::{Budget, Row, Unit},
};

const MAX_MEGABYTES: f64 = 30.0;

pub(super) fn measure(plan: &Plan) -> Outcome<Vec<Row>> {
    let size = plan.claw.metadata()?.len() as f64 / 1e6;
    Ok(vec![Row {
        what: "release binary".to_owned(),
        unit: Unit::Megabytes,
        budget: Budget::MedianAtMost(MAX_MEGABYTES),
        median: size,
        p99: None,
        how: "the file `claw`, everything inside".to_owned(),
    }])
}
