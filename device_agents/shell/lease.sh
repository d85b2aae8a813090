# One session at a time on this device, for everybody who may log in to it.
#
#   lease.sh NONCE PREVIOUS SECONDS BASE PROC OWNER
#
# A session is a folder whose name is its number: mkdir gives a number to one caller alone, and
# numbers only rise, so the session with the highest one is the only one that counts. It lives as
# long as this process, which ends with its stdin: with the link, or with whoever holds it. No time
# of day is looked at: time here is the device's uptime, valid within one boot.
#
# NONCE     names the caller's answers, in hex; PREVIOUS those of its sessions before, with commas
#           between them, or "-"
# SECONDS   how long the session is good for without a word
# BASE      the folder to keep it in, or "-" for the device's usual one
# PROC      /proc, or what stands for it
#
# Answers, one per line, each after NONCE:
#   busy SECONDS OWNER        another session; asked again every 2 seconds until it is over
#   asking                    nobody is in the way
#   took REASON OWNER         a session that had not been closed was taken over
#   held NUMBER PLACE FOLDER  the session is ours
#   problem TEXT              it cannot be had
# Then it reads lines "QUESTION SECONDS": good for so many seconds more. A QUESTION other than 0 is
# answered "beat QUESTION" or "lost OWNER"; "0 0" closes the session and is answered "ended". Where it
# runs in a shell that serves other requests too (serve.sh), it hands their lines on.
# Uses the shell, mkdir, dd, rm and sleep; what others wrote is bounded and never run.

nonce=$1 previous=$2 good=$3 base=$4 proc=$5 owner=$6
most=999999999
umask 022
strangers="say refuse whole first words now first_of born top judge group_of end_link reap over_and_out finish"

say() { printf '%s %s\n' "$nonce" "$*" 2>/dev/null || exit 1; }

refuse() {
    say "problem $*"
    exit 1
}

whole() { # is $1 a whole number that the shell can compute with?
    case $1 in '' | *[!0-9]* | ??????????*) return 1 ;; esac
}

first() { # a file's first bytes, if it is a file
    [ -f "$1" ] && [ ! -h "$1" ] && dd if="$1" bs=600 count=1 2>/dev/null
}

words() { # sets w1 to w5, and rest, of the text $1, none of it a pattern
    set -f
    set -- $1
    set +f
    w1=$1 w2=$2 w3=$3 w4=$4 w5=$5 rest=
    [ $# -gt 5 ] && shift 5 && rest=$*
}

now() { # sets up, in seconds
    words "$(first_of "$proc/uptime")"
    up=${w1%%.*}
    whole "$up" || up=0
}

first_of() { # the first line of a file of the kernel
    { read -r line <"$1" && printf '%s' "$line"; } 2>/dev/null
}

born() { # sets since_boot: when process $1 began, in clock ticks; empty for one that is gone
    set -f
    line=$(first_of "/proc/$1/stat")
    set -- ${line##*) }
    set +f
    since_boot=
    case $1 in '' | Z | X) ;; *) [ $# -ge 20 ] && shift 19 && since_boot=$1 ;; esac
}

top() { # sets top: the highest number in the folder $1
    top=0
    for path in "$1"/[1-9]*; do
        name=${path##*/}
        whole "$name" && [ "$name" -gt "$top" ] && top=$name
    done
}

judge() { # sets over (empty: the session $1 goes on), who, since, theirs
    over= who=
    words "$(first "$1/lease")"
    theirs=$w1 boot=$w2 pid=$w3 start=$w4 since=$w5 who=$rest
    [ -e "$1/ended" ] && over=ended && return
    words "$(first "$1/beat")"
    beat=$w1 lasts=$w2
    if ! whole "$since" || ! whole "$beat" || ! whole "$lasts"; then
        over=unfinished
    elif case ",$previous," in *",$theirs,"*) true ;; *) false ;; esac; then
        over=ours
    elif [ "$boot" != "$this_boot" ] || [ "$up" -lt "$beat" ]; then
        over=restarted
    elif [ "$up" -gt $((beat + lasts)) ]; then
        over=silent
    elif whole "$pid" && [ -r /proc/1/stat ]; then
        # Where processes of others cannot be seen, only their silence tells.
        born "$pid"
        [ "$since_boot" = "$start" ] || over=gone
    fi
}

group_of() { # sets group, and leader: of the process $1
    set -f
    line=$(first_of "/proc/$1/stat")
    set -- ${line##*) }
    set +f
    group=$3 leader=$4
}

end_link() { # end the shell of the session in the folder $1, and what still writes files for it
    [ -O "$1" ] && [ ! -h "$1" ] || return
    group_of $$
    ours=$group
    words "$(first "$1/lease")"
    since_boot=
    whole "$w3" && born "$w3" && group_of "$w3"
    # A link gives each of its commands a group; one that is ours too holds more than that shell.
    if [ -n "$since_boot" ] && [ "$since_boot" = "$w4" ] && whole "$group" && [ "$group" -gt 1 ] &&
        [ "$group" != "$ours" ] && [ "$group" = "$leader" ]; then
        kill -9 "-$group" 2>/dev/null
    fi
}

reap() { # end the agents of our own session in the folder $1, hung ones too
    [ -O "$1" ] && [ ! -h "$1" ] || return
    for path in "$1"/agent.*; do
        pid=${path##*.}
        whole "$pid" || continue
        words "$(first "$path")"
        born "$pid"
        [ -n "$since_boot" ] && [ "$since_boot" = "$w1" ] && kill -9 "$pid" 2>/dev/null
        rm -f "$path"
    done
}

over_and_out() { # whatever ends this shell
    trap - EXIT
    reap .
    { printf '' >ended; } 2>/dev/null
}

finish() {
    over_and_out
    say ended
    exit 0
}

if [ "$base" = - ]; then
    for base in /data/local/tmp /var/tmp /tmp -; do
        [ -d "$base" ] && [ -w "$base" ] && break
    done
fi
folder=$base/edge-harness-lease
# Everybody may add a folder, nobody can touch that of another: as in /tmp itself.
[ -d "$folder" ] || error=$(mkdir -m 1777 "$folder" 2>&1)
[ -w "$folder" ] || sleep 1
if [ ! -d "$folder" ] || [ -h "$folder" ] || [ ! -w "$folder" ] || ! cd "$folder"; then
    refuse "$folder cannot be written ${error##*: }"
fi

this_boot=$(first_of "$proc/sys/kernel/random/boot_id")
[ -n "$this_boot" ] || this_boot=unknown
[ -e place ] || (set -C && printf '%s\n' "$nonce" >place) 2>/dev/null

printf '\n' # what a login shell prints may end without a line feed
tries=0 over=
while :; do
    top .
    now
    if [ "$top" -gt 0 ]; then
        judge "$top"
        if [ "$over" = unfinished ] && [ "$tries" -lt 3 ]; then
            tries=$((tries + 1)) # it may be beginning at this very moment
            sleep 1
            continue
        fi
        if [ -z "$over" ]; then
            tries=0
            say "busy $((up - since)) $who"
            sleep 2
            continue
        fi
    fi
    [ "$top" -lt "$most" ] || refuse "the numbers in $folder are used up: remove that folder"
    say asking # whoever has left meanwhile takes nothing
    mine=$((top + 1))
    error=$(mkdir -m 755 "$mine" 2>&1) && break
    [ -e "$mine" ] || [ -h "$mine" ] || refuse "$folder cannot be written: ${error##*: }"
done
born $$
if ! cd "$mine" || ! printf '%10d %6d\n' "$up" "$good" >beat ||
    ! printf '%s\n' "$nonce $this_boot $$ ${since_boot:-0} $up $owner" >lease; then
    refuse "$folder cannot be written: is the disk full?"
fi
trap finish HUP INT TERM
trap over_and_out EXIT
case $over in
'' | ended) ;;
ours) end_link "../$top" ;;
*) say "took $over $who" ;;
esac
[ "$top" -gt 0 ] && reap "../$top"
for path in ../[1-9]*; do
    name=${path##*/}
    whole "$name" && [ "$name" -lt "$mine" ] && [ -O "$path" ] && [ ! -h "$path" ] && rm -rf "$path"
done
words "$(first ../place)"
say "held $mine $w1 $folder"

while read -r line; do
    case $line in
    [0-9]*) words "$line" ;;
    *)
        command -v serve >/dev/null && serve "$line"
        continue
        ;;
    esac
    question=$w1 seconds=$w2
    whole "$question" && whole "$seconds" || continue
    [ "$seconds" -eq 0 ] && break
    top ..
    if [ "$top" != "$mine" ]; then
        judge "../$top"
        reap .
        say "lost $who"
        exit 1
    fi
    now
    # In place: a disk that has become full must not end the session.
    printf '%10d %6d\n' "$up" "$seconds" 1<>beat
    [ "$question" -eq 0 ] || say "beat $question"
done
finish
