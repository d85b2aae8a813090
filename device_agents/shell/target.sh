# What a program for this device must be built for. Answers:
#   machine MACHINE     as uname has it
#   bits 32|64          of programs, which may be fewer than the kernel's; absent where unknown
#   android ABI         only where Android's own linker starts programs
#   libc glibc|musl     only elsewhere; absent where unknown
echo "machine $(uname -m)"
if [ -e /system/bin/linker64 ] || [ -e /system/bin/linker ]; then
  echo "android $(getprop ro.product.cpu.abi)"
  exit 0
fi
bits=$(getconf LONG_BIT 2>/dev/null) && echo "bits $bits"
if getconf GNU_LIBC_VERSION >/dev/null 2>&1; then
  echo "libc glibc"
else
  for linker in /lib/ld-musl-*; do
    [ -e "$linker" ] && echo "libc musl" && break
  done
fi
exit 0
