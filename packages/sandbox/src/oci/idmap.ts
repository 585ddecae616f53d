import { once } from 'node:events'
import { mkdir, open, writeFile } from 'node:fs/promises'
import koffi from 'koffi'
import { run, spawn } from '@vm0/process'

// open_tree(2), move_mount(2), mount_setattr(2): no wrapper in older C libraries, so by number (the same on x86-64 and arm64).
const sysOpenTree = 428
const sysMoveMount = 429
const sysMountSetattr = 442
const atFdCwd = -100
const openTreeCloneCloexec = 0x80001
const atEmptyPath = 0x1000
const moveMountFromEmptyPath = 4
const mountAttrReadOnly = 1n
const mountAttrIdmap = 0x100000n

const libc = koffi.load('libc.so.6')
const syscall = libc.func('long syscall(long number, ...)')
const closeFd = libc.func('int close(int fd)')

/** An id mapping as the kernel's uid_map has it: ids in the file system, ids they show as, how many. */
export interface IdMapping {
  from: number
  to: number
  count: number
}

/** Binds `source` read-only at `target` so that ids in it show as `mapping` says. */
export async function bindIdmapped(source: string, target: string, mapping: IdMapping): Promise<void> {
  await mkdir(target, { recursive: true })
  const namespace = await userNamespace(mapping)
  try {
    const tree = check(
      syscall(sysOpenTree, 'int', atFdCwd, 'str', source, 'uint', openTreeCloneCloexec),
      `open_tree ${source}`,
    )
    try {
      const attributes = Buffer.alloc(32)
      attributes.writeBigUInt64LE(mountAttrIdmap | mountAttrReadOnly, 0)
      attributes.writeBigUInt64LE(BigInt(namespace.fd), 24)
      check(
        syscall(sysMountSetattr, 'int', tree, 'str', '', 'uint', atEmptyPath, 'void *', attributes, 'size_t', 32),
        `mount_setattr ${source}`,
      )
      check(
        syscall(sysMoveMount, 'int', tree, 'str', '', 'int', atFdCwd, 'str', target, 'uint', moveMountFromEmptyPath),
        `move_mount ${target}`,
      )
    } finally {
      closeFd(tree)
    }
  } finally {
    await namespace.close()
  }
}

export async function unmount(target: string): Promise<void> {
  await run('umount', ['-l', target]).catch(() => undefined)
}

function check(result: number | bigint, what: string): number {
  if (Number(result) < 0) throw new Error(`${what}: errno ${koffi.errno()}`)
  return Number(result)
}

/** A user namespace with this mapping. Node has many threads and can't unshare itself: a child that ends at once makes it. */
async function userNamespace({ from, to, count }: IdMapping) {
  const child = spawn('unshare', ['--user', 'sh', '-c', 'echo; exec cat'], { stdio: ['pipe', 'pipe', 'ignore'] })
  child.stdin.on('error', () => undefined)
  try {
    await Promise.race([
      once(child.stdout, 'data'),
      once(child, 'close').then(() => {
        throw new Error('unshare --user failed: expected user namespaces to be allowed')
      }),
    ])
    const map = `${from} ${to} ${count}\n`
    await writeFile(`/proc/${child.pid}/uid_map`, map)
    await writeFile(`/proc/${child.pid}/gid_map`, map)
    return await open(`/proc/${child.pid}/ns/user`, 'r')
  } finally {
    child.stdin.end()
  }
}
