# The device's store of pushed files, named by their content: PROTOCOL.md describes it.
#
#   sh -c TEXT store.sh look   ROOT TOKEN [SHA256:MODE ...]   what is there; damaged files go
#   sh -c TEXT store.sh commit ROOT TOKEN [SHA256:MODE ...]   parts that arrived get their names
#   sh -c TEXT store.sh drop   ROOT TOKEN                     this token's parts go
#   sh -c TEXT store.sh evict  ROOT TOKEN [SHA256:MODE ...]   these files go
#   sh -c TEXT store.sh clean  ROOT TOKEN                     everything
#
# POSIX sh for dash, bash, busybox and Android's mksh. It computes with no sizes: mksh has 32 bits.
LC_ALL=C
export LC_ALL
unset CDPATH
umask 077
op=$1 root=$2 token=$3
shift 3

fail() {
  echo "$2" >&2
  exit "$1"
}

# What is no name of ours goes nowhere near a path.
case $token in '' | *[!0-9a-f]*) fail 2 "not a token" ;; esac
for spec; do
  name=${spec%%:*}
  case $name in *[!0-9a-f]*) fail 2 "not a sha256" ;; esac
  [ ${#name} = 64 ] || fail 2 "not a sha256"
done

case $root in
  '~') root=$HOME ;;
  '~/'*) root=$HOME/${root#'~/'} ;;
  /*) ;;
  *) root=./$root ;;
esac
if [ "$op" = clean ] && [ ! -d "$root" ]; then
  echo "edge-harness-store 1"
  echo "root $root"
  echo end
  exit 0
fi
if [ "$op" = clean ]; then
  cd "$root" || exit 1
else
  mkdir -p "$root/blobs" "$root/parts" && cd "$root" || exit 1
fi

# openssl uses the processor's own instructions where it has them. serve.sh has looked already.
empty=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
for tool in ${edge_hasher:+"$edge_hasher"} "openssl dgst -sha256 -r" sha256sum "shasum -a 256" \
  "toybox sha256sum"; do
  hasher=$tool
  [ "$tool" != "${edge_hasher:-}" ] || break
  command -v "${tool%% *}" >/dev/null 2>&1 || continue
  sum=$($tool </dev/null 2>/dev/null)
  [ "${sum%% *}" != $empty ] || break
  hasher=
done
[ -n "$hasher" ] || fail 3 "the device has neither sha256sum, nor shasum, nor openssl"

hash_of() {
  sum=$($hasher <"$1" 2>/dev/null)
  sum=${sum%% *}
}

# Lines "WORD NAME SIZE" of a folder's files, newest first; ls has the name last, the size fifth.
list() {
  ls -lnt "$2" 2>/dev/null | while read -r mode _ _ _ size rest; do
    case $mode in -*) echo "$1 ${rest##* } $size" ;; esac
  done
}

sweep_out() {
  now=$(date +%s)
  for part in parts/*; do
    [ -f "$part" ] || continue
    when=$(stat -c %Y "$part" 2>/dev/null) || continue
    [ $((now - when)) -gt 3600 ] && rm -f "$part"
  done
}

echo "edge-harness-store 1"
case $op in
  look)
    sweep_out
    for spec; do
      name=${spec%%:*}
      [ -f "blobs/$name" ] || continue
      hash_of "blobs/$name"
      if [ "$sum" = "$name" ]; then
        [ "${spec#*:}" != x ] || chmod 700 "blobs/$name"
        touch -c "blobs/$name" 2>/dev/null
        echo "has $name"
      else
        rm -f "blobs/$name"
      fi
    done
    list blob blobs
    list part parts
    ;;
  commit)
    for spec; do
      name=${spec%%:*}
      part=parts/$name.$token
      hash_of "$part"
      if [ "$sum" = "$name" ]; then
        [ "${spec#*:}" != x ] || chmod 700 "$part"
        # A power cut must not leave a hollow file, nor the disk write while something is timed.
        sync "$part" 2>/dev/null
        mv -f "$part" "blobs/$name" || exit 1
        echo "has $name"
      else
        rm -f "$part"
      fi
    done
    ;;
  drop)
    for part in parts/*."$token" parts/*."$token".*; do
      [ ! -f "$part" ] || rm -f "$part"
    done
    ;;
  evict)
    for spec; do
      rm -f "blobs/${spec%%:*}"
    done
    ;;
  clean)
    # Only what carries a name of ours: somebody may have chosen a folder with files of his own.
    for folder in blobs parts; do
      list gone $folder | while read -r word name size; do
        stem=${name%%.*}
        case $stem in *[!0-9a-f]*) continue ;; esac
        [ ${#stem} = 64 ] && rm -f "$folder/$name" && echo "$word $name $size"
      done
      rmdir $folder 2>/dev/null
    done
    ;;
  *) fail 2 "unknown op" ;;
esac

# The free space stands before the field with the percent sign.
before=
for field in $(df -kP . 2>/dev/null || df -k .); do
  case $field in
    [0-9]*%) echo "free_kb $before" && break ;;
  esac
  before=$field
done
# The folder's name comes last: it may hold anything, line feeds too.
printf 'root '
pwd
echo end
