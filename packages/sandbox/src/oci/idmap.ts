import { mkdir } from 'node:fs/promises'
import koffi from 'koffi'
import { withUserNamespace, type IdMapping } from './user-namespaces.js'

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

/** Binds `source` read-only at `target` so that ids in it show as `mapping` says. */
export async function bindIdmapped(source: string, target: string, mapping: IdMapping): Promise<void> {
  await mkdir(target, { recursive: true })
  await withUserNamespace(mapping, (namespace) => {
    const tree = check(
      syscall(sysOpenTree, 'int', atFdCwd, 'str', source, 'uint', openTreeCloneCloexec),
      `open_tree ${source}`,
    )
    try {
      const attributes = Buffer.alloc(32)
      attributes.writeBigUInt64LE(mountAttrIdmap | mountAttrReadOnly, 0)
      attributes.writeBigUInt64LE(BigInt(namespace), 24)
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
  })
}

function check(result: number | bigint, what: string): number {
  if (Number(result) < 0) throw new Error(`${what}: errno ${koffi.errno()}`)
  return Number(result)
}
