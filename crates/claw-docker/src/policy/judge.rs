//! The judgement.

use super::{Approved, ContainerWish, Facts, Grants, Policy, Refusal, Refused};

impl Policy {
    /// Judges what would come of a wish, defaults filled in. Pure: `facts` is all it knows of the host.
    ///
    /// # Errors
    ///
    /// Returns every rule that the wish breaks.
    pub fn judge(&self, wish: &ContainerWish, facts: &Facts, grants: &Grants) -> Result<Approved, Refused> {
        let _ = (wish, facts, grants);
        let refusal = Refusal {
            rule: "policy.closed",
            field: String::new(),
            message: "nothing is permitted yet".to_owned(),
            permit: None,
        };
        Err(Refused { refusals: vec![refusal] })
    }
}
