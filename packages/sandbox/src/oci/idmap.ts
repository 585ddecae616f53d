import { mkdir } from 'node:fs/promises'
import { check, closeFd, moveMount, openTree, syscall } from './mount-calls.js'
import { withUserNamespace, type IdMapping } from './user-namespaces.js'

// mount_setattr(2) has no wrapper in older C libraries either.
const sysMountSetattr = 442
const atEmptyPath = 0x1000
const mountAttrReadOnly = 1n
const mountAttrIdmap = 0x100000n

/** Binds `source` read-only at `target` so that ids in it show as `mapping` says. */
export async function bindIdmapped(source: string, target: string, mapping: IdMapping): Promise<void> {
  await mkdir(target, { recursive: true })
  await withUserNamespace(mapping, (namespace) => {
    const tree = openTree(source)
    try {
      const attributes = Buffer.alloc(32)
      attributes.writeBigUInt64LE(mountAttrIdmap | mountAttrReadOnly, 0)
      attributes.writeBigUInt64LE(BigInt(namespace), 24)
      check(
        syscall(sysMountSetattr, 'int', tree, 'str', '', 'uint', atEmptyPath, 'void *', attributes, 'size_t', 32),
        `mount_setattr ${source}`,
      )
      moveMount(tree, target)
    } finally {
      closeFd(tree)
    }
  })
}
