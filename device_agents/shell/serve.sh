# Stands ready on the device: runs other scripts and writes files, one request after the other, so
# that a login shell is started once. First it says what it can:
#
#   ready many|one gzip|plain
#
# A request is a line of stdin; words have odd bytes as \0ooo, - stands for none.
#
#   run MARK SCRIPT NAME [ARGUMENT ...]
#
# runs the text and answers "MARK begin" on a line of its own, its stdout, "MARK CODE" on a line of its
# own, its stderr, and "MARK end" on a line of its own. Whoever asked then says "over MARK", or, before
# that, "stop MARK", which ends the script. Its end is not waited for when stdin ends.
#
#   stay SCRIPT NAME [ARGUMENT ...]
#
# runs the text in this very shell: it holds something for as long as the link is there, and so no
# second login shell is waited for. It reads the lines that follow, and gives those that are not its
# own to serve. Names of its functions and variables must not be those used here.
#
#   put MARK OFFSET SIZE plain|gzip frames|rest beside|after FILE SHA256 MODE PLACE
#
# The bytes that follow are appended to FILE, which has OFFSET bytes and is to have SIZE in the end.
# They come in frames (a line with a number, so many bytes; 0 ends the file), or are the rest of
# stdin: the only way where nothing here can read an exact number of bytes ("one"). With a SHA256
# the whole file is hashed beside the writing, or after it; where it agrees it moves to PLACE,
# executable with MODE x. Answers: "placed", "done" (no SHA256, or nothing to hash with), "wrong" (the
# file is gone), or "failed TEXT", where what came stays; what follows is then passed over up to the line
# "resync MARK".
LC_ALL=C
export LC_ALL
here=$PWD
line_feed="
"
strangers= # functions of what stays in this shell, which no other script shall meet

decode() {
  text=$(printf '%b.' "$1")
  text=${text%.}
}
path_of() {
  decode "$1"
  path=$text
  case $path in
    '~/'*) path=$HOME/${path#'~/'} ;;
    /*) ;;
    *) path=$here/$path ;;
  esac
}

length() {
  set -- $(wc -c <"$file")
  echo "$1"
}

# Busybox and toybox read ahead with head; dd reads exactly where it knows how to fill a block.
exact_dd() {
  [ $(($1 / 65536)) = 0 ] || dd bs=65536 count=$(($1 / 65536)) iflag=fullblock status=none || return
  [ $(($1 % 65536)) = 0 ] || dd bs=$(($1 % 65536)) count=1 iflag=fullblock status=none
}
exact_head() { head -c "$1"; }
exact=
for way in exact_dd exact_head; do
  left=$(echo abcdef | { $way 3 >/dev/null 2>&1; cat; } 2>/dev/null)
  [ "$left" != def ] || { exact=$way && break; }
done
unpack=
for tool in "gzip -dc" "gunzip -c"; do
  command -v "${tool%% *}" >/dev/null 2>&1 && unpack=$tool && break
done
# openssl uses the processor's own instructions where it has them.
edge_hasher=
empty=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
for tool in "openssl dgst -sha256 -r" sha256sum "shasum -a 256" "toybox sha256sum"; do
  command -v "${tool%% *}" >/dev/null 2>&1 || continue
  sum=$($tool </dev/null 2>/dev/null)
  [ "${sum%% *}" != $empty ] || { edge_hasher=$tool && break; }
done
say=one
[ -z "$exact" ] || say=many
[ -z "$unpack" ] && say="$say plain" || say="$say gzip"
printf '\nready %s\n' "$say" # what a login shell prints may end without a line feed

frames() {
  while read -r count && [ "$count" != 0 ]; do
    $exact "$count" || return
  done
}

take() {
  case $mode$frame in
    plainrest) cat ;;
    plainframes) frames ;;
    gziprest) $unpack ;;
    gzipframes) frames | $unpack ;;
  esac
}

stream() {
  [ "$offset" = 0 ] || cat "$file"
  case $mode$frame in
    plainrest) tee -a "$file" ;;
    *) take | tee -a "$file" ;;
  esac
}

script() { # has $1 run the decoded rest, whose first is the script and second its name
  how=$1
  shift
  words=$#
  for word; do
    decode "$word"
    set -- "$@" "$text"
  done
  shift "$words"
  text=$1
  shift
  [ $# = 0 ] || shift # the name of a script may be left out
  $how "$@"
}

stay() { script remain "$@"; }

remain() { eval "$text"; }

run() {
  mark=$1
  shift
  script answer "$@"
}

own_names() { [ -z "$strangers" ] || unset -f $strangers; }

answer() {
  printf '\n%s begin\n' "$mark"
  (
    # What comes last keeps the line feeds before it.
    errors=$(
      (own_names && cd "$here" && eval "$text") </dev/null 2>&1 >&4 4>&-
      echo ".$?"
    )
    printf '\n%s %s\n%s\n%s end\n' "$mark" "${errors##*.}" "${errors%.*}" "$mark"
  ) &
  job=$!
  while read -r line; do
    case $line in
      "over $mark")
        wait "$job"
        return 0
        ;;
      "stop $mark")
        end_all "$job"
        printf '\n%s 137\nstopped\n%s end\n' "$mark" "$mark"
        ;;
    esac
  done 2>/dev/null # some shells tell of jobs that were killed
  end_all "$job"
  exit 0
}

end_all() { # process $1 and those that it has started
  kill -STOP "$1" 2>/dev/null
  for entry in /proc/[0-9]*; do
    stat=
    { read -r stat <"$entry/stat"; } 2>/dev/null
    case ${stat##*) } in ?" $1 "*) (end_all "${entry##*/}") ;; esac
  done
  kill -9 "$1" 2>/dev/null
}

begin() {
  if [ "$offset" = 0 ]; then
    : >"$file"
  elif [ "$(length)" != "$offset" ]; then
    head -c "$offset" "$file" >"$file.cut" && mv -f "$file.cut" "$file"
  fi
}

put() {
  mark=$1 offset=$2 size=$3 mode=$4 frame=$5 when=$6
  shift 6
  sha256=$2 kind=$3 place=$4 sum=
  path_of "$1"
  file=$path
  [ -n "$edge_hasher" ] || sha256=-
  errors=$(begin 2>&1) || { failed && return; }
  if [ "$sha256" = - ]; then
    errors=$(take 2>&1 >>"$file")
  elif [ "$when" = after ]; then
    errors=$(take 2>&1 >>"$file")
    sum=$($edge_hasher <"$file")
  else
    # The sum comes last: when it is told, what is before it in the pipe has ended.
    errors=$({ stream | $edge_hasher; } 2>&1)
    sum=${errors##*"$line_feed"}
    errors=${errors%"$sum"}
  fi
  if [ "$(length)" != "$size" ]; then
    errors="$errors not all of it is there"
    failed
  elif [ "$sha256" = - ]; then
    echo "done"
  elif [ "${sum%% *}" != "$sha256" ]; then
    rm -f "$file"
    echo wrong
  else
    path_of "$place"
    [ "$kind" != x ] || chmod 700 "$file"
    errors=$(mv -f "$file" "$path" 2>&1) || { failed && return; }
    echo placed
    # The disk should not write while something is timed. What a power cut hollows out is found
    # when the store is looked at again.
    sync "$path" >/dev/null 2>&1 </dev/null 4>&- &
  fi
}

failed() {
  set -f
  printf '%s\n' "failed $(printf '%s ' $errors)"
  set +f
  while read -r line; do
    [ "$line" != "resync $mark" ] || return 0
  done
  exit 0
}

serve() { # one line of stdin, and what follows it
  umask 077
  set -f
  set -- $1
  set +f
  case $1 in
    run | stay | put) "$@" ;;
  esac
}

exec 4>&1
while read -r line; do
  serve "$line"
done
