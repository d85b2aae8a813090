# Start a program under a lease of lease.sh, or refuse.
#
#   guard.sh FOLDER NUMBER NONCE PROGRAM [ARGUMENT...]
#
# Exit code 76: the lease is not ours any more, and nothing was started. What earlier programs of
# this session have left running is ended. The program gets this process, its streams and its id.

mine=$1/$2 nonce=$3

born() { # sets since_boot: when process $1 began; empty for one that is gone
    set -f
    line=$({ read -r line <"/proc/$1/stat" && printf '%s' "$line"; } 2>/dev/null)
    set -- ${line##*) }
    set +f
    since_boot=
    case $1 in '' | Z | X) ;; *) [ $# -ge 20 ] && shift 19 && since_boot=$1 ;; esac
}

lost() {
    echo "the lease of this device has gone to another session" >&2
    exit 76
}

[ -O "$mine" ] && [ ! -h "$mine" ] && [ ! -e "$mine/ended" ] || lost
read -r theirs _ <"$mine/lease" && [ "$theirs" = "$nonce" ] || lost
for path in "$mine"/agent.*; do
    pid=${path##*.}
    case $pid in '' | *[!0-9]*) continue ;; esac
    read -r began <"$path"
    born "$pid"
    [ -n "$since_boot" ] && [ "$since_boot" = "$began" ] && kill -9 "$pid" 2>/dev/null
    rm -f "$path"
done
# First the note, then the look: whoever takes over first takes a number, then reads the notes.
born $$
{ echo "$since_boot" >"$mine/agent.$$"; } 2>/dev/null
for path in "$1"/[1-9]*; do
    name=${path##*/}
    case $name in *[!0-9]* | ??????????*) continue ;; esac
    [ "$name" -le "$2" ] || lost
done

shift 3
program=$1
shift
case $program in '~/'*) program=$HOME/${program#'~/'} ;; esac
if ! command -v "$program" >/dev/null 2>&1; then # the shell's own words begin with a line of this text
    echo "$program: not found" >&2
    exit 127
fi
exec "$program" "$@"
