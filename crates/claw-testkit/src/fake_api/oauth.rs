//! The place that renews logins: each renewal uses up the token that renews, and gives out another.

use serde_json::{Value, json};

use super::answer::{Answer, ErrorAnswer};

/// A login as the server knows it.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    /// The token that a call for a message needs.
    pub(crate) access: String,
    /// The token that renews, good for one renewal.
    pub(crate) refresh: String,
    /// How often it was renewed.
    pub(crate) renewals: usize,
    /// How often a renewal was asked for that was not granted.
    pub(crate) refusals: usize,
    /// Status of the answers to come in place of renewals, and how many of these.
    pub(crate) failing: (u16, usize),
}

impl Login {
    pub(crate) fn new(access: &str, refresh: &str) -> Self {
        Self {
            access: access.to_owned(),
            refresh: refresh.to_owned(),
            renewals: 0,
            refusals: 0,
            failing: (0, 0),
        }
    }

    /// Answers a request for a renewal.
    pub(crate) fn renew(&mut self, body: &Value) -> Answer {
        let (status, times) = self.failing;
        if times > 0 {
            self.failing = (status, times - 1);
            self.refusals += 1;
            return Answer::Error(ErrorAnswer::new(status, "the login service is down"));
        }
        let is_known = body["grant_type"] == "refresh_token"
            && body["client_id"].is_string()
            && body["refresh_token"] == self.refresh.as_str();
        if !is_known {
            self.refusals += 1;
            let mut error = ErrorAnswer::new(400, "");
            error.body =
                json!({"error": "invalid_grant", "error_description": "Refresh token not found or invalid"})
                    .to_string();
            return Answer::Error(error);
        }
        self.renewals += 1;
        self.access = format!("fake-access-{}", self.renewals);
        self.refresh = format!("fake-refresh-{}", self.renewals);
        Answer::Json(json!({
            "token_type": "Bearer", "access_token": self.access, "refresh_token": self.refresh, "expires_in": 28_800,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_renews_is_good_for_one_renewal() {
        let mut login = Login::new("a", "r");
        let ask =
            |token: &str| json!({"grant_type": "refresh_token", "client_id": "c", "refresh_token": token});

        let first = login.renew(&ask("r"));
        let again = login.renew(&ask("r"));

        assert!(matches!(first, Answer::Json(answer) if answer["refresh_token"] == "fake-refresh-1"));
        assert!(matches!(again, Answer::Error(error) if error.status == 400));
        assert_eq!((login.renewals, login.refusals), (1, 1));
    }
}
