//! Who may do what: scopes, actors and the gate's decision.

use std::{collections::BTreeSet, fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

macro_rules! scopes {
    ($($variant:ident = $name:literal;)*) => {
        /// One permission. A key may do what its scopes name and nothing else: no scope implies another, except
        /// [`Scope::All`] and [`Scope::Admin`], which imply every scope.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "each is named by its text form")]
        pub enum Scope { $($variant,)* }

        impl Scope {
            /// Every scope, in the order in which lists show them.
            pub const ALL: &'static [Scope] = &[$(Self::$variant,)*];

            /// Returns the scope's name as clients write it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

scopes! {
    ContainersRead = "containers:read";
    ContainersWrite = "containers:write";
    ContainersDelete = "containers:delete";
    ContainersExec = "containers:exec";
    ImagesRead = "images:read";
    ImagesWrite = "images:write";
    TemplatesRead = "templates:read";
    TemplatesWrite = "templates:write";
    MarketplaceRead = "marketplace:read";
    MarketplaceWrite = "marketplace:write";
    SystemRead = "system:read";
    KeysWrite = "keys:write";
    JobsRead = "jobs:read";
    JobsWrite = "jobs:write";
    WorkspacesRead = "workspaces:read";
    WorkspacesWrite = "workspaces:write";
    SkillsRead = "skills:read";
    SkillsWrite = "skills:write";
    SchedulesRead = "schedules:read";
    SchedulesWrite = "schedules:write";
    ChatUse = "chat:use";
    Admin = "admin";
    All = "*";
}

/// A scope name that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown scope `{name}`; the scopes are {}", known_scopes())]
pub struct UnknownScope {
    /// The name as given, cut to 64 characters.
    pub name: String,
}

fn known_scopes() -> String {
    Scope::ALL.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", ")
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Scope::ALL
            .iter()
            .copied()
            .find(|scope| scope.as_str() == name)
            .ok_or_else(|| UnknownScope { name: name.chars().take(64).collect() })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Returns the scopes as clients must see them: those that imply others are written out.
///
/// MCP clients compare scope names exactly, so a key that holds only `*` must list every scope beside it.
pub fn expand_scopes(scopes: &BTreeSet<Scope>) -> Vec<Scope> {
    if scopes.contains(&Scope::All) || scopes.contains(&Scope::Admin) {
        let wildcard = scopes.contains(&Scope::All);
        Scope::ALL.iter().copied().filter(|scope| wildcard || *scope != Scope::All).collect()
    } else {
        scopes.iter().copied().collect()
    }
}

/// Who is behind a request: the owner that is written on what they create.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// The holder of an API key, by the key's id.
    Key(String),
    /// A person, by username.
    User(String),
    /// The holder of the installation's own token (`CLAW_API_TOKEN`).
    Token,
    /// The house itself: recovery, schedules.
    System,
}

impl fmt::Display for Principal {
    /// Writes the form that is stored as an owner: `key:{id}`, `user:{name}`, `token` or `system`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => write!(f, "key:{id}"),
            Self::User(name) => write!(f, "user:{name}"),
            Self::Token => f.write_str("token"),
            Self::System => f.write_str("system"),
        }
    }
}

/// What a key or person is to the installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs the installation: sees and changes what everyone owns.
    Admin,
    /// A person who sees what is theirs.
    User,
    /// A program that sees what is its own.
    Agent,
}

impl Role {
    /// Returns the name that clients send and see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
            Self::Agent => "agent",
        }
    }
}

/// Whoever asks, whichever door they came through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Who it is.
    pub principal: Principal,
    /// A name for people.
    pub label: String,
    /// What they may do.
    pub scopes: BTreeSet<Scope>,
    /// Handle of the session, or of the key's secret, that they came with, if they came with one. It is no secret itself.
    pub session: Option<String>,
    /// Where the request came from, for the audit trail. Decides about nothing.
    pub origin: Origin,
}

/// Where a request came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Address of the client; `None` for what the house does by itself.
    pub client: Option<IpAddr>,
    /// The request, as answers name it.
    pub request: Option<String>,
}

impl Actor {
    /// Returns an actor with the given scopes.
    pub fn new(
        principal: Principal,
        label: impl Into<String>,
        scopes: impl IntoIterator<Item = Scope>,
    ) -> Self {
        Self {
            principal,
            label: label.into(),
            scopes: scopes.into_iter().collect(),
            session: None,
            origin: Origin::default(),
        }
    }

    /// Returns the actor as they came from there.
    #[must_use]
    pub fn coming_from(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    /// Returns the actor with the name of their request.
    #[must_use]
    pub fn on_request(mut self, request: impl Into<String>) -> Self {
        self.origin.request = Some(request.into());
        self
    }

    /// Returns the actor for work that the house does by itself.
    pub fn system() -> Self {
        Self::new(Principal::System, "system", [Scope::All])
    }

    /// Returns the owner mark of what this actor creates.
    pub fn owner(&self) -> String {
        self.principal.to_string()
    }

    /// Tells whether the actor sees and changes what others own.
    pub fn is_admin(&self) -> bool {
        self.scopes.contains(&Scope::Admin) || self.scopes.contains(&Scope::All)
    }

    /// Tells whether the actor holds `scope`, directly or by implication.
    pub fn holds(&self, scope: Scope) -> bool {
        match scope {
            Scope::All => self.scopes.contains(&Scope::All),
            _ => self.is_admin() || self.scopes.contains(&scope),
        }
    }

    /// Returns the owner to whom lists are narrowed: `None` for those who see everything.
    pub fn sees_only(&self) -> Option<String> {
        (!self.is_admin()).then(|| self.owner())
    }
}

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $verb:literal => $scope:expr;)*) => {
        /// One operation of the application, as the gate knows it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Action { $($(#[$doc])* $variant,)* }

        impl Action {
            /// Returns the scope the operation needs; `None` means that any valid credential will do.
            pub fn scope(self) -> Option<Scope> {
                match self { $(Self::$variant => $scope,)* }
            }

            /// Returns the operation's name in the audit trail, where no more exact one is at hand.
            pub fn verb(self) -> &'static str {
                match self { $(Self::$variant => $verb,)* }
            }
        }
    };
}

actions! {
    /// See jobs, their logs and results.
    JobsRead = "job.read" => Some(Scope::JobsRead);
    /// Submit, cancel and delete jobs.
    JobsWrite = "job.write" => Some(Scope::JobsWrite);
    /// See workspaces, their files and history.
    WorkspacesRead = "workspace.read" => Some(Scope::WorkspacesRead);
    /// Create, change and delete workspaces and their files.
    WorkspacesWrite = "workspace.write" => Some(Scope::WorkspacesWrite);
    /// List, create, change and revoke API keys of others.
    KeysManage = "key.manage" => Some(Scope::KeysWrite);
    /// See or lower one's own key.
    OwnKey = "key.own" => None;
    /// See the state of the installation.
    StatusRead = "status.read" => None;
    /// See settings; secret ones stay hidden.
    ConfigRead = "setting.read" => Some(Scope::Admin);
    /// Change settings.
    ConfigWrite = "setting.write" => Some(Scope::Admin);
    /// List, create and delete people's accounts.
    UsersManage = "user.manage" => Some(Scope::Admin);
    /// Change one's own password, see and end one's own sessions.
    OwnAccount = "user.own" => None;
    /// See, export and verify the audit trail.
    AuditRead = "audit.read" => Some(Scope::Admin);
    /// Remove what is old.
    Maintain = "maintenance" => Some(Scope::Admin);
    /// See what was spent: one's own, or everyone's as an administrator.
    SpendingRead = "spending.read" => Some(Scope::JobsRead);
    /// See containers, their settings and logs.
    ContainersRead = "container.read" => Some(Scope::ContainersRead);
    /// Create, start, stop and restart containers.
    ContainersWrite = "container.write" => Some(Scope::ContainersWrite);
    /// Remove containers.
    ContainersDelete = "container.delete" => Some(Scope::ContainersDelete);
    /// Run programs in containers.
    ContainersExec = "container.exec" => Some(Scope::ContainersExec);
    /// See images.
    ImagesRead = "image.read" => Some(Scope::ImagesRead);
    /// Pull and remove images.
    ImagesWrite = "image.write" => Some(Scope::ImagesWrite);
    /// See templates.
    TemplatesRead = "template.read" => Some(Scope::TemplatesRead);
    /// Save and delete templates, and create what they describe.
    TemplatesWrite = "template.write" => Some(Scope::TemplatesWrite);
    /// See apps, installed and not.
    MarketplaceRead = "app.read" => Some(Scope::MarketplaceRead);
    /// Install, start, stop, update and uninstall apps.
    MarketplaceWrite = "app.write" => Some(Scope::MarketplaceWrite);
    /// See what everybody does.
    ActivityRead = "activity.read" => Some(Scope::SystemRead);
    /// See the state of the machine and of its Docker Engine.
    SystemRead = "system.read" => None;
    /// See what may be created on Docker, and why something may not.
    PolicyRead = "policy.read" => None;
}

/// What an operation touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Nothing in particular, or something that does not exist yet.
    Any,
    /// One thing with an owner.
    Owned {
        /// The owner mark, as [`Actor::owner`] writes it.
        owner: String,
    },
}

/// The gate's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Allow,
    /// The credential lacks this scope.
    ScopeMissing(Scope),
    /// The thing belongs to someone else. Doors answer as if it did not exist.
    NotTheirs,
}

/// Decides whether `actor` may do `action` to `resource`. Pure: what it depends on is in its arguments.
pub fn decide(actor: &Actor, action: Action, resource: &Resource) -> Decision {
    if let Some(scope) = action.scope()
        && !actor.holds(scope)
    {
        return Decision::ScopeMissing(scope);
    }
    match resource {
        Resource::Owned { owner } if !actor.is_admin() && *owner != actor.owner() => Decision::NotTheirs,
        Resource::Any | Resource::Owned { .. } => Decision::Allow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(scopes: &[Scope]) -> Actor {
        Actor::new(Principal::Key("a".into()), "agent", scopes.iter().copied())
    }

    fn owned_by(actor: &Actor) -> Resource {
        Resource::Owned { owner: actor.owner() }
    }

    #[test]
    fn every_scope_name_parses_to_itself_and_no_other_name_parses() {
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(*scope));
        }
        for name in ["", "jobs", "jobs:*", "JOBS:READ", "jobs:read ", "secrets:write"] {
            assert!(name.parse::<Scope>().is_err(), "{name}");
        }
    }

    #[test]
    fn each_action_needs_exactly_its_scope() {
        let actions = [
            Action::JobsRead,
            Action::JobsWrite,
            Action::WorkspacesRead,
            Action::WorkspacesWrite,
            Action::KeysManage,
            Action::ConfigRead,
            Action::ConfigWrite,
            Action::UsersManage,
            Action::ContainersRead,
            Action::ContainersWrite,
            Action::ContainersDelete,
            Action::ContainersExec,
        ];
        for action in actions {
            let needed = action.scope().expect("a scoped action");
            for held in Scope::ALL.iter().copied() {
                let allowed = decide(&agent(&[held]), action, &Resource::Any) == Decision::Allow;
                let expected = held == needed || matches!(held, Scope::All | Scope::Admin);
                assert_eq!(allowed, expected, "{action:?} with {held}");
            }
        }
    }

    #[test]
    fn write_does_not_imply_read() {
        let writer = agent(&[Scope::JobsWrite]);

        assert_eq!(
            decide(&writer, Action::JobsRead, &Resource::Any),
            Decision::ScopeMissing(Scope::JobsRead)
        );
    }

    #[test]
    fn what_belongs_to_another_is_out_of_reach_except_for_admins() {
        let theirs = owned_by(&Actor::new(Principal::User("someone".into()), "", []));

        assert_eq!(decide(&agent(&[Scope::JobsRead]), Action::JobsRead, &theirs), Decision::NotTheirs);
        assert_eq!(decide(&agent(&[Scope::Admin]), Action::JobsRead, &theirs), Decision::Allow);
    }

    #[test]
    fn a_key_named_like_a_user_does_not_own_what_the_user_owns() {
        let user = Actor::new(Principal::User("a".into()), "", [Scope::JobsRead]);

        assert_eq!(
            decide(&agent(&[Scope::JobsRead]), Action::JobsRead, &owned_by(&user)),
            Decision::NotTheirs
        );
    }

    #[test]
    fn the_wildcard_is_written_out_for_clients() {
        let expanded = expand_scopes(&BTreeSet::from([Scope::All]));

        assert_eq!(expanded, Scope::ALL);
        assert_eq!(expand_scopes(&BTreeSet::from([Scope::JobsRead])), [Scope::JobsRead]);
    }

    #[test]
    fn admin_does_not_hold_the_wildcard_itself() {
        assert!(!agent(&[Scope::Admin]).holds(Scope::All));
        assert!(agent(&[Scope::Admin]).holds(Scope::ContainersDelete));
    }
}
