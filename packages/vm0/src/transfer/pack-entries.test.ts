import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { walkFolder, type LocalEntry } from './local-tree.js'
import { packEntries } from './pack-entries.js'

let root: string
let [from, to] = ['', '']
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'vm0-pack-'))
  ;[from, to] = [join(root, 'from'), join(root, 'to')]
})
afterEach(() => rmSync(root, { recursive: true }))

async function packed(): Promise<Buffer> {
  const entries: LocalEntry[] = []
  await walkFolder(from, { gitignore: false }, (entry) => entries.push(entry))
  const parts: Uint8Array[] = []
  for await (const part of packEntries(entries, 'FILE_INVALID')) parts.push(part)
  return Buffer.concat(parts)
}

const facts = String.raw`find . -mindepth 1 \( -type l -printf '%P %y %l\n' \) -o -printf '%P %y %m %Ts\n' | LC_ALL=C sort; find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum`
const describe = (folder: string): string => execFileSync('sh', ['-c', facts], { cwd: folder, encoding: 'utf8' })

const name = fc.oneof(
  fc.constantFrom(
    'a',
    'b c',
    '-x',
    'é',
    'line\nbreak',
    'n'.repeat(99),
    'n'.repeat(100),
    'é'.repeat(51),
    'm'.repeat(200),
  ),
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 }).filter((text) => !/[/\\\0]|^\.\.?$/.test(text)),
)
const entry = fc.record({
  path: fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join('/')),
  // Around the size of a block, of what is read at once and of what is handed on at once.
  size: fc.constantFrom(0, 1, 511, 512, 513, 262_144, 262_145, 1_048_064, 1_048_576, 1_300_000),
  mode: fc.constantFrom(0o600, 0o644, 0o755, 0o400),
  seconds: fc.constantFrom(-7, 0, 1_000_000_000, 10_000_000_000),
  link: fc.option(fc.constantFrom('a', '../é', 't'.repeat(101))),
})

test('tar unpacks what was packed, whatever the names, sizes, modes and times', async () => {
  const property = fc.asyncProperty(fc.array(entry, { maxLength: 12 }), async (entries) => {
    for (const folder of [from, to]) {
      rmSync(folder, { recursive: true, force: true })
      mkdirSync(folder)
    }
    for (const { path, size, mode, seconds, link } of entries) {
      try {
        mkdirSync(dirname(join(from, path)), { recursive: true })
        if (link !== null) symlinkSync(link, join(from, `${path.slice(0, 240)}.link`))
        else {
          writeFileSync(join(from, path), Buffer.alloc(size, path), { flag: 'wx' })
          chmodSync(join(from, path), mode)
          utimesSync(join(from, path), seconds, seconds)
        }
      } catch (error) {
        // A name that another entry has.
        if (!['EEXIST', 'ENOTDIR', 'ENAMETOOLONG'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
      }
    }
    execFileSync('tar', ['-x', '-p', '-C', to], { input: await packed(), stdio: ['pipe', 'ignore', 'ignore'] })
    expect(describe(to)).toBe(describe(from))
  })
  await fc.assert(property, { numRuns: Number(process.env.VM0_PROPERTY_RUNS ?? 25) })
})

test('what no archive of ours may hold is refused, and so is a file that becomes shorter meanwhile', async () => {
  mkdirSync(from)
  writeFileSync(join(from, 'big'), Buffer.alloc(5_000_000))
  const [big] = await (async () => {
    const entries: LocalEntry[] = []
    await walkFolder(from, { gitignore: false }, (each) => entries.push(each))
    return entries
  })()
  const drain = async (entries: LocalEntry[]) => {
    for await (const part of packEntries(entries, 'WORKSPACE_INVALID')) if (part.length > 2_000_000) return
  }
  truncateSync(join(from, 'big'), 4_000_000)
  await expect(drain([big!])).rejects.toMatchObject({ code: 'WORKSPACE_INVALID' })
  execFileSync('mkfifo', [join(from, 'pipe')])
  await expect(packed()).rejects.toMatchObject({ code: 'FILE_INVALID' })
  rmSync(join(from, 'pipe'))
  writeFileSync(join(from, 'back\\slash'), '')
  await expect(packed()).rejects.toMatchObject({ code: 'FILE_INVALID', message: expect.stringContaining('backslash') })
})
