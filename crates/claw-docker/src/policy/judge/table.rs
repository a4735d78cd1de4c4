//! Every rule there is.

/// One rule of the judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleInfo {
    /// How refusals name it.
    pub id: &'static str,
    /// What it asks for.
    pub asks: &'static str,
}

macro_rules! rules {
    ($($id:literal: $asks:literal,)*) => {
        /// Every rule, with what it asks for.
        pub const RULES: &[RuleInfo] = &[$(RuleInfo { id: $id, asks: $asks },)*];
    };
}

rules! {
    "wish.size": "lists and texts have a sensible length",
    "name.form": "a name is made of letters, digits, `_`, `.` and `-`",
    "name.protected": "nobody takes a name that belongs to ClawMachine",
    "name.like-id": "a name does not look like the id of a container",
    "image.form": "an image is named by a proper reference",
    "image.registry": "an image comes from a registry that the policy names",
    "image.by-id": "where registries are named, an image is not named by its id",
    "image.labels": "an image does not carry labels of ClawMachine",
    "image.working-dir": "an image does not start in a folder of the kernel's",
    "hostname.form": "a host name is one",
    "labels.form": "the key of a label is plain text",
    "labels.reserved": "labels that ClawMachine, compose or other tools trust are not set",
    "environment.form": "a variable has a proper name, and its value holds no zero byte",
    "environment.twice": "no variable is set twice",
    "process.text": "arguments hold no zero byte",
    "process.user": "users and groups are names or numbers",
    "process.working-dir": "the folder to start in is absolute, and not one of the kernel's",
    "process.stop": "a stop signal is one, and stopping takes no longer than ten minutes",
    "process.health": "a health check is one, and runs no more than once a second",
    "hosts.form": "a line of the hosts file is a name and an address",
    "dns.form": "a name server is an address",
    "powers.privileged": "no container is privileged",
    "powers.capability-unknown": "a capability has one of the kernel's names",
    "powers.capabilities": "no capabilities are added but those that the policy names",
    "powers.devices": "no devices of the host but those that the policy names",
    "powers.gpus": "graphics processors only where the policy says so",
    "powers.security-options": "no security option that weakens the isolation",
    "powers.sysctls": "no kernel parameters but those that the policy names",
    "powers.cgroup-parent": "no control group is chosen",
    "powers.runtime": "no runtime but those that the policy names",
    "powers.oom-score": "no container is spared when memory runs short on the host",
    "powers.ulimits": "process limits are those that only concern the container",
    "namespaces.form": "a namespace is private or one of the forms that are known",
    "namespaces.host": "namespaces of the host only where the policy says so",
    "namespaces.foreign": "no namespaces of other containers",
    "networks.mode": "either networks or one network mode",
    "networks.form": "a network has a proper name",
    "networks.unknown": "a network that is joined exists",
    "networks.own": "nobody joins or makes a network of ClawMachine's own",
    "networks.driver": "networks are of the drivers that the policy names",
    "networks.options": "a new network has no options beyond its packet size",
    "networks.subnet": "a new network's address range is one that the policy names",
    "ports.form": "a port is not 0, and there are no two for one place of the host",
    "ports.own": "no port that ClawMachine listens on",
    "ports.low": "ports of the host below 1024 are those that the policy names",
    "mounts.volumes-from": "no mounts of other containers are taken over",
    "mounts.target": "a mount has its own absolute place in the container",
    "mounts.target-system": "nothing is mounted over what the kernel shows",
    "mounts.propagation": "mounts do not spread to the host",
    "mounts.path": "a path of the host is absolute and does not climb",
    "mounts.engine-socket": "no socket of a container engine",
    "mounts.own-folder": "nothing of ClawMachine's own data",
    "mounts.system": "nothing of the host's system",
    "mounts.outside-roots": "only what lies below the folders that the policy names",
    "mounts.unseen": "only what could be looked at",
    "mounts.whole-root": "not all installed apps at once",
    "mounts.app-files": "not the compose file and the passwords of an app",
    "mounts.special": "only files and folders",
    "mounts.read-only": "what is for reading only is mounted so",
    "mounts.nested": "nothing below a folder that another container can write",
    "mounts.volume-name": "a volume has a proper name",
    "mounts.volume-unseen": "only volumes that could be looked at",
    "mounts.own-volume": "no volume of ClawMachine's own",
    "mounts.volume-driver": "volumes are the Engine's own",
    "mounts.volume-options": "volumes lead nowhere else",
    "limits.memory": "memory is no more than the policy gives",
    "limits.cpus": "processor cores are no more than the policy gives",
    "limits.pids": "processes are no more than the policy gives",
    "limits.shm": "shared memory is no more than the policy gives",
    "limits.tmpfs": "file systems in memory are no larger than the policy gives",
    "log.driver": "output is kept by the drivers that the policy names",
    "log.options": "of a log, size and number of files can be chosen",
    "log.size": "the logs of one container are no larger than the policy gives",
    "exec.command": "a program to be run in a container is named",
    "exec.unknown-state": "programs are run only in containers whose powers are all known",
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_rule_has_the_name_of_another() {
        let ids: HashSet<_> = RULES.iter().map(|rule| rule.id).collect();

        assert_eq!(ids.len(), RULES.len());
    }
}
