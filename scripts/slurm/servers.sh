# shellcheck shell=bash
# Servers of models, which are jobs of their own: their names, whether they answer, and how other jobs find them. Sourced
# after lib.sh; no script of its own. A server that answers has a file, outputs/servers/NAME/JOB.url.

# A server's name is a folder's name, and what vLLM calls the model.
check_server_name() {
    [[ $1 =~ ^[A-Za-z0-9][A-Za-z0-9_.-]*$ ]] || fail "the name $1 of a server may hold letters, digits, '.', '_' and '-' only, and begins with one of the first two."
}

# Does an OpenAI-compatible server answer? One that wants a key (401) does.
answers() {
    in_environment python -c 'import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(sys.argv[1] + "/models", timeout=10)
except urllib.error.HTTPError as error:
    sys.exit(error.code != 401)
except OSError:
    sys.exit(1)' "$1"
}

# wait_for_servers NAME: sets `served`, the addresses as a JSON list. A server writes its file when it answers.
wait_for_servers() {
    local folder=${LEMMA_SERVERS:-$root/outputs/servers}/$1 began=$SECONDS wanted file url list
    while :; do
        list=
        wanted=0
        for file in "$folder"/*.url; do
            [[ -s $file ]] || continue
            url=$(<"$file")
            if answers "$url"; then
                list+=${list:+, }\"$url\"
                wanted=$((wanted + 1))
            fi
        done
        ((wanted >= ${LEMMA_SERVERS_WANTED:-1})) && break
        ((SECONDS - began < ${LEMMA_SERVER_WAIT:-3600})) ||
            fail "no server called $1 answered within ${LEMMA_SERVER_WAIT:-3600} s ($folder); start one: scripts/slurm/submit.sh serve $1 MODEL"
        sleep 5
    done
    served="[$list]"
    say "server $1: $served"
}

# use_servers ROLE...: wait for the servers that LEMMA_<ROLE>_SERVER name; sets `server_options`, overrides of a recipe.
server_options=()
use_servers() {
    local role variable
    for role in "$@"; do
        variable=LEMMA_${role^^}_SERVER
        [[ -n ${!variable:-} ]] || continue
        wait_for_servers "${!variable}"
        server_options+=("--$role.base_urls" "$served")
    done
}
