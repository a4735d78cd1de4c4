//! What an image adds to a container that does not say it itself.
//!
//! Most of it concerns the container alone: variables, ports that nobody publishes, a user, a program, volumes without a
//! name. What others believe is taken off, and what reaches further is refused like a wish for it.

use super::{
    Case,
    identity::{LabelKind, kind_of},
    process::MIN_HEALTH_PACE,
    quoted,
};
use crate::{
    ImageDetails,
    policy::{Approved, ContainerWish, Facts, Grants, HealthWish, Own, Policy, Refused, path},
};

impl Policy {
    /// Judges what would come of an approved container made from this very image, and returns it with what has to be
    /// said against the image: labels that other programs take orders from are set to nothing, and a health check runs
    /// no more than once a second.
    ///
    /// # Errors
    ///
    /// Refuses an image that carries labels of ours, or that starts in a folder of the kernel's.
    pub fn judge_image(
        &self,
        wish: &ContainerWish,
        image: &ImageDetails,
        own: &Own,
    ) -> Result<ContainerWish, Refused> {
        let (facts, grants) = (Facts::default(), Grants::default());
        let mut case = Case { rules: &self.rules, facts: &facts, grants: &grants, refusals: Vec::new() };
        let mut result = wish.clone();
        for key in image.labels.keys().filter(|key| !wish.labels.contains_key(*key)) {
            match kind_of(key, own, &self.rules.labels.allowed) {
                LabelKind::Plain => {}
                LabelKind::Ours => {
                    let message =
                        format!("the image carries the label {}, which is ClawMachine's alone", quoted(key));
                    case.refuse("image.labels", format!("image.labels[{}]", quoted(key)), message);
                }
                LabelKind::Dockers | LabelKind::Obeyed(_) => {
                    result.labels.insert(key.clone(), String::new());
                }
            }
        }
        if result.working_dir.is_none() && !image.working_dir.is_empty() {
            let folder = path::normal(&image.working_dir);
            // As for a folder that is asked for: it can be a door out while the container is being set up.
            if folder
                .is_none_or(|folder| path::is_beneath(&folder, "/proc") || path::is_beneath(&folder, "/sys"))
            {
                let message =
                    format!("the image starts in {}: choose another folder", quoted(&image.working_dir));
                case.refuse("image.working-dir", "image.working_dir", message);
            }
        }
        if image.health_interval.is_some_and(|interval| interval < MIN_HEALTH_PACE) {
            // The rest of the check stays the image's.
            let health = result.healthcheck.get_or_insert_with(HealthWish::default);
            health.interval.get_or_insert(MIN_HEALTH_PACE);
        }
        if case.refusals.is_empty() { Ok(result) } else { Err(Refused { refusals: case.refusals }) }
    }
}

impl Approved {
    /// Returns the same with what an image made necessary.
    ///
    /// # Errors
    ///
    /// As [`Policy::judge_image`].
    pub fn of_image(&self, policy: &Policy, image: &ImageDetails, own: &Own) -> Result<Self, Refused> {
        Ok(Self { wish: policy.judge_image(&self.wish, image, own)?, missing: self.missing.clone() })
    }
}
