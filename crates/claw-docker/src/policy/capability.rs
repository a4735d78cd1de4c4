//! Linux capabilities, by name.

/// What Docker gives every container unless told otherwise.
pub(super) const DOCKERS: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// What we take away from that: forging packets on a shared network, making device files, writing the host's audit
/// log. Podman gives none of them either, so images are used to it.
pub(super) const TAKEN_AWAY: &[&str] = &["AUDIT_WRITE", "MKNOD", "NET_RAW"];

/// The others, which may be permitted one by one.
const OTHERS: &[&str] = &[
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "BLOCK_SUSPEND",
    "IPC_LOCK",
    "IPC_OWNER",
    "LEASE",
    "LINUX_IMMUTABLE",
    "NET_ADMIN",
    "NET_BROADCAST",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// Each of these is a known way to the whole host: mounting, loading modules, raw devices, opening files by handle,
/// programs in the kernel, the kernel's log, security modules, restarting the machine.
const TOO_MUCH: &[&str] = &[
    "ALL",
    "BPF",
    "CHECKPOINT_RESTORE",
    "DAC_READ_SEARCH",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "PERFMON",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_MODULE",
    "SYS_RAWIO",
];

/// Returns a name in its one spelling, as Docker would read it.
pub(super) fn normal(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    match upper.strip_prefix("CAP_") {
        Some(plain) => plain.to_owned(),
        None => upper,
    }
}

/// Tells whether there is such a capability that may be permitted.
pub(super) fn is_known(name: &str) -> bool {
    DOCKERS.contains(&name) || OTHERS.contains(&name)
}

/// Tells whether nobody may have it.
pub(super) fn is_too_much(name: &str) -> bool {
    TOO_MUCH.contains(&name)
}

/// Tells whether every container has it unless it drops it.
pub(super) fn is_given(name: &str) -> bool {
    DOCKERS.contains(&name) && !TAKEN_AWAY.contains(&name)
}
