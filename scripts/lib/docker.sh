# shellcheck shell=bash
# Sourced: a Docker Engine for scripts. Installs Debian's packages when they are missing and starts the daemon when
# nobody else did; ends only what it started itself.
#
#   docker_require       an Engine that answers, or an explanation and status 1
#   docker_install       Debian's docker.io and debootstrap, when missing (needs root)
#   docker_stop_started  ends the daemon that docker_require started; for a trap on EXIT

DOCKER_STARTED_PID=""
DOCKER_LOG="${DOCKER_LOG:-/var/log/claw-dockerd.log}"
DOCKER_START_SECONDS="${DOCKER_START_SECONDS:-30}"

docker_say() {
    printf '%s\n' "docker: $*" >&2
}

# Whether the Engine answers. Bounded, since a wedged daemon accepts connections and says nothing.
docker_answers() {
    command -v docker >/dev/null 2>&1 && timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1
}

# Installs the named Debian packages whose commands are missing: docker_apt COMMAND=PACKAGE...
docker_apt() {
    local pair missing=()
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null 2>&1 || missing+=("${pair#*=}")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        docker_say "missing: ${missing[*]}; install them (on Debian as root: apt-get install ${missing[*]})"
        return 1
    fi
    docker_say "installing ${missing[*]}"
    local log
    log="$(mktemp)"
    if ! { timeout 300 apt-get update && DEBIAN_FRONTEND=noninteractive timeout 900 apt-get install --yes \
        --no-install-recommends "${missing[@]}"; } </dev/null >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        docker_say "could not install ${missing[*]}"
        return 1
    fi
    rm -f "$log"
}

docker_install() {
    docker_apt docker=docker.io dockerd=docker.io debootstrap=debootstrap
}

docker_require() {
    docker_answers && return 0
    if [ -n "${DOCKER_HOST:-}" ]; then
        docker_say "no answer from DOCKER_HOST=$DOCKER_HOST; start that Engine or unset the variable"
        return 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        docker_say "no Engine answers; start it (sudo systemctl start docker) and let your user use it (group docker)"
        return 1
    fi
    docker_install || return 1
    # The package may have started it.
    docker_answers && return 0

    # A daemon that somebody else is starting right now counts as well: a second one would only break its network.
    if [ -S /var/run/docker.sock ] && pgrep -x dockerd >/dev/null 2>&1; then
        docker_say "waiting for the daemon that is starting"
    else
        docker_say "starting dockerd (log: $DOCKER_LOG)"
        # A session of its own: Ctrl-C on the terminal must not end it before what still uses it.
        setsid dockerd </dev/null >"$DOCKER_LOG" 2>&1 &
        DOCKER_STARTED_PID=$!
    fi
    local deadline=$((SECONDS + DOCKER_START_SECONDS))
    until docker_answers; do
        if [ -n "$DOCKER_STARTED_PID" ] && ! kill -0 "$DOCKER_STARTED_PID" 2>/dev/null; then
            tail -n 20 "$DOCKER_LOG" >&2
            docker_say "dockerd ended while starting"
            DOCKER_STARTED_PID=""
            return 1
        fi
        if [ "$SECONDS" -ge "$deadline" ]; then
            docker_say "no answer after $DOCKER_START_SECONDS s; see $DOCKER_LOG"
            docker_stop_started
            return 1
        fi
        sleep 0.1
    done
}

docker_stop_started() {
    [ -n "$DOCKER_STARTED_PID" ] || return 0
    kill "$DOCKER_STARTED_PID" 2>/dev/null || true
    local deadline=$((SECONDS + 20))
    while kill -0 "$DOCKER_STARTED_PID" 2>/dev/null; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            docker_say "dockerd (pid $DOCKER_STARTED_PID) did not end; killing it"
            kill -KILL "$DOCKER_STARTED_PID" 2>/dev/null || true
            break
        fi
        sleep 0.1
    done
    wait "$DOCKER_STARTED_PID" 2>/dev/null || true
    DOCKER_STARTED_PID=""
}
