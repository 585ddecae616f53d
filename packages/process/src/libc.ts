import { constants } from 'node:os'
import koffi from 'koffi'

const libc = koffi.load('libc.so.6')
const pipe2 = libc.func('int pipe2(int *fds, int flags)')
const waitpid = libc.func('int waitpid(int pid, int *status, int options)')
const posixSpawnp = libc.func(
  'int posix_spawnp(int *pid, str file, void *actions, void *attributes, str *argv, str *envp)',
)
const initActions = libc.func('int posix_spawn_file_actions_init(void *actions)')
const destroyActions = libc.func('int posix_spawn_file_actions_destroy(void *actions)')
const addDup2 = libc.func('int posix_spawn_file_actions_adddup2(void *actions, int fd, int as)')
const addOpen = libc.func('int posix_spawn_file_actions_addopen(void *actions, int fd, str path, int flags, uint mode)')
const addChdir = libc.func('int posix_spawn_file_actions_addchdir_np(void *actions, str path)')
const initAttributes = libc.func('int posix_spawnattr_init(void *attributes)')
const setFlags = libc.func('int posix_spawnattr_setflags(void *attributes, short flags)')
const setDefaults = libc.func('int posix_spawnattr_setsigdefault(void *attributes, void *set)')
const setMask = libc.func('int posix_spawnattr_setsigmask(void *attributes, void *set)')

const closeOnExec = 0o2000000
const readWrite = 2
const noHang = 1
/** setsigdef, setsigmask, setsid: bits of posix_spawnattr_setflags(3). */
const spawnFlags = { defaults: 0x04, mask: 0x08, session: 0x80 }
/** More than glibc's structures take on any machine. */
const actionsBytes = 512
const attributesBytes = 1024
const signalSetBytes = 128

/** Signals that a runtime ignores or blocks for itself mean nothing to the programs that it starts. */
const noSignals = Buffer.alloc(signalSetBytes)
const allSignals = Buffer.alloc(signalSetBytes).fill(0xff, 0, 8)

/** Both ends of a pipe, which programs that are started don't inherit. */
export function makePipe(): { read: number; write: number } {
  const fds = new Int32Array(2)
  check(pipe2(fds, closeOnExec) < 0 ? koffi.errno() : 0, 'pipe2')
  return { read: fds[0] as number, write: fds[1] as number }
}

export interface Start {
  args: readonly [command: string, ...args: string[]]
  /** As `NAME=value`. */
  env: readonly string[]
  cwd?: string | undefined
  /** What the program has as its first descriptors; null is /dev/null. */
  descriptors: readonly (number | null)[]
  newSession: boolean
}

/** Starts a program; gives its process id, or throws with an `errno` code such as ENOENT. */
export function startProgram({ args, env, cwd, descriptors, newSession }: Start): number {
  const actions = Buffer.alloc(actionsBytes)
  const attributes = Buffer.alloc(attributesBytes)
  check(initActions(actions), 'posix_spawn_file_actions_init')
  try {
    for (const [as, fd] of descriptors.entries())
      check(
        fd === null ? addOpen(actions, as, '/dev/null', readWrite, 0) : addDup2(actions, fd, as),
        'posix_spawn_file_actions',
      )
    if (cwd !== undefined) check(addChdir(actions, cwd), 'posix_spawn_file_actions_addchdir_np')
    check(initAttributes(attributes), 'posix_spawnattr_init')
    check(setDefaults(attributes, allSignals), 'posix_spawnattr_setsigdefault')
    check(setMask(attributes, noSignals), 'posix_spawnattr_setsigmask')
    const { defaults, mask, session } = spawnFlags
    check(setFlags(attributes, defaults | mask | (newSession ? session : 0)), 'posix_spawnattr_setflags')
    const pid = new Int32Array(1)
    check(posixSpawnp(pid, args[0], actions, attributes, [...args, null], [...env, null]), `spawn ${args[0]}`)
    return pid[0] as number
  } finally {
    destroyActions(actions)
  }
}

export interface Status {
  code: number | null
  signal: NodeJS.Signals | null
}

/** How a child has ended; undefined while it hasn't. Asked once more after that, it is not there. */
export function endOf(pid: number): Status | undefined {
  const status = new Int32Array(1)
  if (waitpid(pid, status, noHang) !== pid) return undefined
  const [value] = status as unknown as [number]
  const signal = value & 0x7f
  return signal === 0 ? { code: (value >> 8) & 0xff, signal: null } : { code: null, signal: signalName(signal) }
}

const nameOf = (table: Readonly<Record<string, number>>, value: number): string | undefined =>
  Object.keys(table).find((name) => table[name] === value)

const signalName = (number: number): NodeJS.Signals =>
  (nameOf(constants.signals, number) ?? `SIG${number}`) as NodeJS.Signals

function check(errno: number, syscall: string): void {
  if (errno === 0) return
  const code = nameOf(constants.errno, errno) ?? `errno ${errno}`
  throw Object.assign(new Error(`${syscall} ${code}`), { code, errno: -errno, syscall })
}
