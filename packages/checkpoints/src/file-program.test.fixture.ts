import {
  appendFileSync,
  chmodSync,
  chownSync,
  closeSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import fc from 'fast-check'
import { makeNode, setXattr } from './overlay.test.fixture.js'

/** Few names, so that what a program does meets what it did before and what the base has; the last is not UTF-8. */
const name = fc.constantFrom('a', 'b', '\xff\xfe ')
const path = fc.array(name, { minLength: 1, maxLength: 3, size: 'max' }).map((names) => names.join('/'))
const size = fc.constantFrom(0, 1, 100, 4031, 4032, 4033, 4096, 8192, 9000, 70_000, 1_100_000)
const xattr = fc.constantFrom(
  { name: 'user.note', value: Buffer.from('noted') },
  { name: 'user.large', value: Buffer.alloc(3000, 'x') },
  // cap_net_bind_service, effective and permitted
  { name: 'security.capability', value: Buffer.from('0100000200040000000000000000000000000000', 'hex') },
  // user::rw-, user:1000:r--, group::r--, mask::r--, other::---
  {
    name: 'system.posix_acl_access',
    value: Buffer.from(
      '0200000001000600ffffffff02000400e803000004000400ffffffff10000400ffffffff20000000ffffffff',
      'hex',
    ),
  },
)

export const fileStep = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('write' as const), path, size, fill: fc.nat(255) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('append' as const), path, size }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('truncate' as const), path, size }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('sparse' as const), path, holes: fc.array(size, { maxLength: 3 }) }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('remove' as const), path }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('mkdir' as const), path }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('rename' as const), path, to: path }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('link' as const), path, to: path }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('symlink' as const), path, to: path }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('chmod' as const), path, mode: fc.constantFrom(0, 0o644, 0o1777, 0o4755) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('chown' as const), path, id: fc.constantFrom(0, 1000, 65_533) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('touch' as const), path, seconds: fc.integer({ min: -1e9, max: 6e9 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('xattr' as const), path, xattr }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('special' as const), path, type: fc.constantFrom(0o010644, 0o140600) }),
  },
)
export type FileStep = typeof fileStep extends fc.Arbitrary<infer T> ? T : never

/** Does it in a folder; what can't be done there (no such file, a directory in the way) is left undone. */
export function applyStep(root: string, step: FileStep): void {
  const inRoot = (path: string): Buffer => Buffer.from(`${root}/${path}`, 'latin1')
  const target = inRoot(step.path)
  try {
    const found = statSync(target, { throwIfNoEntry: false })
    // Opening a FIFO would wait for its other end.
    if (found?.isFIFO() && ['write', 'append', 'truncate', 'sparse'].includes(step.do)) return
    switch (step.do) {
      case 'write':
        mkdirSync(dirname(target), { recursive: true })
        return writeFileSync(target, Buffer.alloc(step.size, step.fill), { flag: found ? 'r+' : 'w' })
      case 'append':
        return appendFileSync(target, Buffer.alloc(step.size, 'a'))
      case 'truncate':
        return truncateSync(target, step.size)
      case 'sparse':
        return writeSparse(target, step.holes)
      case 'remove':
        return rmSync(target, { recursive: true })
      case 'mkdir':
        return void mkdirSync(target, { recursive: true })
      case 'rename':
        return renameSync(target, inRoot(step.to))
      case 'link':
        return linkSync(target, inRoot(step.to))
      case 'symlink':
        return symlinkSync(Buffer.from(step.to, 'latin1'), target)
      case 'chmod':
        return chmodSync(target, step.mode)
      case 'chown':
        return chownSync(target, step.id, step.id)
      case 'touch':
        return utimesSync(target, step.seconds, step.seconds + 0.25)
      case 'xattr':
        return setXattr(target, step.xattr.name, step.xattr.value)
      case 'special':
        return makeNode(target, step.type)
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error
  }
}

function dirname(path: Buffer): Buffer {
  return path.subarray(0, path.lastIndexOf('/'))
}

function writeSparse(target: Buffer, holes: readonly number[]): void {
  const fd = openSync(target, 'w')
  let end = 0
  for (const hole of holes) {
    end += hole * 20
    writeSync(fd, Buffer.from('data'), 0, 4, end)
  }
  ftruncateSync(fd, end + 300_000)
  closeSync(fd)
}
