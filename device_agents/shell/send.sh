# Writes FILE to stdout, after a line with its size; what a login shell prints comes before it.
#
#   sh -c TEXT send.sh FILE
LC_ALL=C
export LC_ALL
file=$1
case $file in
  '~/'*) file=$HOME/${file#'~/'} ;;
  /*) ;;
  *) file=./$file ;;
esac
[ -f "$file" ] || exit 5
exec 4<"$file" || exit 1
set -- $(wc -c <"$file")
echo "edge-harness-file $1"
exec cat <&4
