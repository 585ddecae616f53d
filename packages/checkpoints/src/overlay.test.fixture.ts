import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  closeSync,
  constants,
  lstatSync,
  mkdtempSync,
  openSync,
  readlinkSync,
  readSync,
  type BigIntStats,
} from 'node:fs'
import { mkdir, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { openBlobDirectory } from '@vm0/backends'
import koffi from 'koffi'
import { objectName } from './digest.js'
import { dataExtents, listDirectory, xattrsAt } from './capture/syscalls.js'
import {
  openCheckpointStore,
  type CheckpointManifest,
  type CheckpointStore,
  type CheckpointStoreOptions,
  type ImageFiles,
  type LayerChain,
  type LayerReference,
  type SavedCheckpoint,
} from './index.js'

const exec = promisify(execFile)
const c = koffi.load('libc.so.6')
const readOnly = 1
const libc = {
  mmap: c.func('void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)'),
  munmap: c.func('int munmap(void *address, size_t length)'),
  memset: c.func('void *memset(void *address, int value, size_t length)'),
  setxattr: c.func('int lsetxattr(void *path, str name, void *value, size_t size, int flags)'),
  mount: c.func('int mount(str source, str target, str type, ulong flags, str data)'),
  mknod: c.func('int mknod(void *path, uint mode, ulong device)'),
}

/** A base folder, an upper on an ext4 of its own as sandboxes have it, and the overlay of both: what a sandbox sees. */
export class OverlayFixture {
  store!: CheckpointStore
  chain: LayerChain | undefined
  private mounts: string[] = []
  private serial = 0
  private lowers: string[] = []

  private constructor(readonly directory: string) {}

  static async create(): Promise<OverlayFixture> {
    const fixture = new OverlayFixture(mkdtempSync(join(tmpdir(), 'vm0-layers-')))
    await mkdir(fixture.base)
    await fixture.reopen()
    return fixture
  }

  async reopen(options: Partial<CheckpointStoreOptions> = {}): Promise<CheckpointStore> {
    const blobs = await openBlobDirectory(join(this.directory, 'objects'))
    const scratch = join(this.directory, 'scratch')
    this.store = await openCheckpointStore({ blobs, scratch, ...options })
    return this.store
  }

  /** The base as a template's image. */
  async baseImage(): Promise<string> {
    const image = join(this.directory, 'base.erofs')
    await exec('mkfs.erofs', ['--quiet', image, this.base])
    return image
  }

  objectPath(kind: 'layers' | 'manifests', digest: string): string {
    return join(this.directory, 'objects', objectName(kind, digest))
  }

  async removeScratch(): Promise<void> {
    await rm(join(this.directory, 'scratch'), { recursive: true })
    await mkdir(join(this.directory, 'scratch'))
  }

  get base(): string {
    return join(this.directory, 'base')
  }
  get live(): string {
    return join(this.directory, 'live')
  }
  get upper(): string {
    return join(this.directory, 'disk', 'upper')
  }

  /** Mounts the layers over the base with an empty upper: a new sandbox. */
  async start(
    layers: readonly LayerReference[] = [],
    features = '^has_journal',
    { bytes = 1024 ** 3, inodes }: { bytes?: number; inodes?: number } = {},
  ): Promise<void> {
    const image = join(this.directory, 'disk.ext4')
    const file = await open(image, 'w')
    await file.truncate(bytes)
    await file.close()
    const count = inodes === undefined ? [] : ['-N', String(inodes)]
    await exec('mkfs.ext4', ['-q', '-F', '-O', features, ...count, '-E', 'lazy_itable_init=1,nodiscard', image])
    const disk = join(this.directory, 'disk')
    await this.mount(disk, '-o', 'loop,nodev,nosuid,noatime', image)
    await mkdir(this.upper)
    await mkdir(join(disk, 'work'))
    this.lowers = [...(await this.mountLayers(layers)).toReversed(), this.base]
    await this.mount(
      this.live,
      '-t',
      'overlay',
      'overlay',
      '-o',
      `lowerdir=${this.lowers.join(':')},upperdir=${this.upper},workdir=${disk}/work`,
    )
    this.chain = this.store.openChain({ layers } as CheckpointManifest)
  }

  async stop(): Promise<void> {
    await this.chain?.close()
    for (const path of this.mounts.splice(0).toReversed()) await exec('umount', ['-l', path])
    await rm(join(this.directory, 'disk.ext4'))
  }

  async close(): Promise<void> {
    await this.chain?.close()
    for (const path of this.mounts.splice(0).toReversed()) await exec('umount', ['-l', path])
    await rm(this.directory, { recursive: true, force: true })
  }

  async save(whileFrozen = (capture: () => Promise<void>) => capture(), upper = this.upper): Promise<SavedCheckpoint> {
    const chain = this.chain as LayerChain
    const saved = await chain.save({ manifest: this.manifest, upper, whileFrozen })
    chain.committed(saved)
    return saved
  }

  /** The same where anything beside `ignored` has changed. */
  async saveIfChanged(ignored: string[]): Promise<SavedCheckpoint | undefined> {
    const chain = this.chain as LayerChain
    const request = {
      manifest: this.manifest,
      upper: this.upper,
      whileFrozen: (capture: () => Promise<void>) => capture(),
    }
    const saved = await chain.saveIfChanged(request, ignored)
    if (saved) chain.committed(saved)
    return saved
  }

  private get manifest(): Omit<CheckpointManifest, 'v' | 'layers' | 'createdAt'> {
    return {
      projectId: 'default',
      sessionId: 'session',
      runId: null,
      parent: null,
      cause: 'run',
      outcome: 'succeeded',
      epoch: 1,
      template: `sha256:${'0'.repeat(64)}`,
      conversation: null,
    }
  }

  /** Hands `use` the root of the layers over the base, mounted read-only as a sandbox would have them. */
  async withRestored<T>(layers: readonly LayerReference[], use: (root: string) => T | Promise<T>): Promise<T> {
    const before = this.mounts.length
    try {
      const mounted = await this.mountLayers(layers)
      const root = join(this.directory, `restored-${this.serial++}`)
      if (mounted.length === 0) return await use(this.base)
      const lowers = [...mounted.toReversed(), this.base].join(':')
      await this.mount(root, '-t', 'overlay', 'overlay', '-o', `lowerdir=${lowers}`)
      return await use(root)
    } finally {
      for (const path of this.mounts.splice(before).toReversed()) await exec('umount', ['-l', path])
    }
  }

  private async mountLayers(layers: readonly LayerReference[]): Promise<string[]> {
    const images = await this.store.layerImages({ projectId: 'default', layers } as CheckpointManifest)
    return Promise.all(
      images.map((image) => {
        const at = join(this.directory, `l${this.serial++}`)
        return this.mountImage(at, image).then(() => at)
      }),
    )
  }

  /** From the files where the kernel can, else by loop devices of its own: one that two mounts share would be taken by the first. */
  private async mountImage(at: string, { path, devices }: ImageFiles): Promise<void> {
    await mkdir(at, { recursive: true })
    const files = devices.map((device) => `device=${device}`).join(',')
    if (libc.mount(path, at, 'erofs', readOnly, files) === 0) return void this.mounts.push(at)
    const loops: string[] = []
    try {
      for (const file of [path, ...devices])
        loops.push((await exec('losetup', ['--find', '--show', '--read-only', file])).stdout.trim())
      const [source = '', ...others] = loops
      const options = ['ro', 'nodev', ...others.map((loop) => `device=${loop}`)].join(',')
      await this.mount(at, '-t', 'erofs', '-o', options, source)
    } finally {
      // Each goes with the mount that uses it.
      if (loops.length > 0) await exec('losetup', ['-d', ...loops])
    }
  }

  async mount(at: string, ...args: string[]): Promise<void> {
    await mkdir(at, { recursive: true })
    await exec('mount', [...args, at])
    this.mounts.push(at)
  }
}

function checked(result: number, call: string): void {
  if (result < 0) throw Object.assign(new Error(`${call}: errno ${koffi.errno()}`), { code: `errno ${koffi.errno()}` })
}

export function setXattr(path: Buffer, name: string, value: Buffer): void {
  checked(libc.setxattr(Buffer.concat([path, Buffer.of(0)]), name, value, value.length, 0) as number, 'setxattr')
}

/** A FIFO or socket. */
export function makeNode(path: Buffer, mode: number): void {
  checked(libc.mknod(Buffer.concat([path, Buffer.of(0)]), mode, 0) as number, 'mknod')
}

/** A file in memory, shared and writable. */
export function mapShared(path: string, length: number): { fill(byte: number): void; unmap(): void } {
  const fd = openSync(path, 'r+')
  const address = libc.mmap(null, length, 3, 1, fd, 0) as unknown
  closeSync(fd)
  return {
    fill: (byte) => void libc.memset(address, byte, length),
    unmap: () => void libc.munmap(address, length),
  }
}

/**
 * Everything that a tree shows, as lines that can be compared: type, mode, owner, size, time, links, content, holes, xattrs.
 * Of a live overlay its upper says which names are one inode: st_ino of a file that was copied up may differ by name.
 */
export function describeTree(root: string, upper?: string): string[] {
  const lines: string[] = []
  const firstNames = new Map<string, string>()
  const identify = (status: BigIntStats, shown: string): string => {
    const above = upper && lstatSync(Buffer.from(upper + shown, 'latin1'), { bigint: true, throwIfNoEntry: false })
    return above ? `upper ${above.ino}` : `${status.dev} ${status.ino}`
  }
  const walk = (fd: number, at: string): void => {
    for (const { name } of listDirectory(fd)) {
      const path = Buffer.from(`/proc/self/fd/${fd}/${name}`, 'latin1')
      const shown = `${at}/${name}`
      const status = lstatSync(path, { bigint: true })
      const identity = status.isDirectory() || status.nlink === 1n ? '' : identify(status, shown)
      const first = identity && firstNames.get(identity)
      if (identity && !first) firstNames.set(identity, shown)
      const what = first ? `=${first}` : describe(path, status)
      lines.push(`${shown} ${what} ${describeXattrs(fd, name)}`.trimEnd())
      if (!status.isDirectory()) continue
      const inside = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY)
      walk(inside, shown)
      closeSync(inside)
    }
  }
  const fd = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY)
  walk(fd, '')
  closeSync(fd)
  return lines
}

function describe(path: Buffer, status: BigIntStats): string {
  const { mode, uid, gid, mtimeNs } = status
  const common = `${mode.toString(8)} ${uid}:${gid} ${mtimeNs}`
  if (status.isDirectory()) return common
  if (status.isSymbolicLink()) return `${common} ->${readlinkSync(path, 'latin1')}`
  if (!status.isFile()) return `${common} ${status.rdev}`
  const content = digestOfContent(path, Number(status.size))
  const fd = openSync(path, 'r')
  const extents = dataExtents(fd, Number(status.size)).map(({ start, end }) => `${start}-${end}`)
  closeSync(fd)
  return `${common} ${status.nlink} ${status.size} ${content} [${extents.join(',')}]`
}

function digestOfContent(path: Buffer, size: number): string {
  const hash = createHash('sha256')
  const fd = openSync(path, 'r')
  const buffer = Buffer.alloc(Math.min(size, 2 ** 24))
  for (let at = 0; at < size; at += buffer.length)
    hash.update(buffer.subarray(0, readSync(fd, buffer, 0, buffer.length, at)))
  closeSync(fd)
  return hash.digest('hex').slice(0, 16)
}

function describeXattrs(fd: number, name: string): string {
  return xattrsAt(fd, name)
    .filter(([key]) => !key.startsWith('trusted.overlay.'))
    .map(([key, value]) => `${key}=${value.toString('hex')}`)
    .join(' ')
}
