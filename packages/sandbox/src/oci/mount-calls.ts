import koffi from 'koffi'

// open_tree(2), move_mount(2): no wrapper in older C libraries, so by number (the same on x86-64 and arm64).
const sysOpenTree = 428
const sysMoveMount = 429
const atFdCwd = -100
const openTreeCloneCloexec = 0x80001
const moveMountFromEmptyPath = 4

const libc = koffi.load('libc.so.6')
export const syscall = libc.func('long syscall(long number, ...)')
// Node would warn of a descriptor that it has not opened.
export const closeFd = libc.func('int close(int fd)')

/** A copy of the mount at `source` that is mounted nowhere yet, as a descriptor: `closeFd` it. */
export function openTree(source: string): number {
  return check(syscall(sysOpenTree, 'int', atFdCwd, 'str', source, 'uint', openTreeCloneCloexec), `open_tree ${source}`)
}

/** Mounts what `openTree` gave, or moves what is mounted at a path. */
export function moveMount(from: number | string, target: string): void {
  const [fd, path, flags] = typeof from === 'number' ? [from, '', moveMountFromEmptyPath] : [atFdCwd, from, 0]
  check(
    syscall(sysMoveMount, 'int', fd, 'str', path, 'int', atFdCwd, 'str', target, 'uint', flags),
    `move_mount ${target}`,
  )
}

/** The result of a call that has gone well; throws what failed, with its number. */
export function check(result: number | bigint, what: string): number {
  if (Number(result) < 0) throw new Error(`${what}: errno ${koffi.errno()}`)
  return Number(result)
}
