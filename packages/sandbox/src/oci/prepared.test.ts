import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SandboxRecord } from '@vm0/contract'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { ImageFiles, Sandbox, SandboxEngine } from '../engine.js'
import { openOciEngine } from '../index.js'
import { gatewayPort, sh, TestEngine } from './engine.test.fixture.js'

let host: TestEngine
let folder: string

beforeAll(async () => {
  host = await TestEngine.open()
  folder = await mkdtemp(join(tmpdir(), 'vm0-layers-'))
}, 900_000)
afterAll(async () => {
  await host?.close()
  await rm(folder, { recursive: true, force: true })
})

const resources = { memoryMiB: 512, cpus: 1, diskMiB: 128, processes: 64 }
const first = { maxOutputBytes: 1_000_000 }
const specOf = (id: string) => ({
  id,
  templateImage: host.templateImage,
  layers: [],
  resources,
  platformMounts: [{ source: '/usr/share/doc', target: '/opt/vm0/agents/any/1' }],
})

async function layer(name: string, fill: (root: string) => Promise<unknown>): Promise<ImageFiles> {
  const root = join(folder, name)
  await mkdir(root)
  await fill(root)
  const path = join(folder, `${name}.erofs`)
  execFileSync('mkfs.erofs', ['--quiet', path, root])
  return { path, devices: [] }
}

/** All that can be told from inside. */
async function about(sandbox: Sandbox): Promise<string> {
  const files = `find / -xdev -type d -printf '%p %M %U %G\\n' -o -printf '%p %M %U %G %s %l\\n' | sort`
  const mounts = `sed -E 's/^[0-9]+ [0-9]+ [^ ]+ //; s#/run/vm0/[^ ,:]*##g' /proc/self/mountinfo | sort`
  const rest =
    'env | sort; id; hostname; cat /proc/1/cmdline /etc/resolv.conf; ls -ld / /proc/1/root /proc/1/cwd; cat /proc/1/status | grep -E "^(Cap|NoNewPrivs|Seccomp)"; cat /workspace/*; df -B1 --output=size /'
  const { status, out } = await sh(sandbox, `cd /; ${files}; ${mounts}; ${rest}; stat -c '%A %u %g %n' /*`)
  expect(status).toBe(0)
  // Neither of two sandboxes has the other's ids outside.
  return out.replaceAll(/uid=\d{5,},gid=\d{5,}/g, 'uid=own').replaceAll(/^(.* -> )?.*lowerdir.*$/gm, 'root')
}

/** What a checkpoint would be made of. */
function upperOf(sandbox: Sandbox): Promise<string> {
  const list = ['-mindepth', '1', '-printf', '%P %M %U %G\\n']
  return sandbox.withUpperView(async (view) =>
    execFileSync('find', [view, ...list], { encoding: 'utf8' })
      .split('\n')
      .toSorted()
      .join('\n'),
  )
}

test('one that was made ahead becomes the sandbox of files that it was not made of, like any other', async () => {
  const layers = [
    await layer('first', async (root) => {
      await mkdir(join(root, 'workspace'))
      await writeFile(join(root, 'workspace/note'), 'of the session\n')
    }),
    await layer('second', async (root) => {
      await mkdir(join(root, 'workspace'))
      await writeFile(join(root, 'workspace/more'), 'of its second layer\n')
      await mkdir(join(root, 'own'))
    }),
  ]
  const made = await host.engine.create({ ...specOf('made'), layers })
  const expected = await about(made)
  const expectedUpper = await upperOf(made)
  await made.close()

  const prepared = await host.engine.prepare(specOf('ahead'), first)
  const sandbox = await prepared.furnish({ templateImage: host.templateImage, layers })
  expect(await about(sandbox)).toBe(expected)
  expect(expected).toContain('of the session\n')
  expect(await upperOf(sandbox)).toBe(expectedUpper)

  await sh(sandbox, 'echo new >/workspace/new; rm /workspace/note')
  expect(await upperOf(sandbox)).toMatch(/^workspace\/new -.*\nworkspace\/note c/m)
  await expect(prepared.furnish({ templateImage: host.templateImage, layers })).rejects.toThrow('asked for twice')
  // It belongs to whoever has it.
  await prepared.close()
  expect(await sandbox.alive()).toBe(true)
  await sandbox.close()
  expect(await sandbox.alive()).toBe(false)
  expect(await readdir(join(host.directory, 'sandboxes'))).toEqual([])
})

/** All that a process can tell of how it was started; then it says what it reads. */
const inspection = `tr '\\0' '\\n' </proc/$$/environ | sort
grep -E '^(Uid|Gid|Groups|SigIgn|Cap|NoNewPrivs|Seccomp)' /proc/$$/status
cat /proc/$$/limits /proc/$$/oom_score_adj; pwd; readlink /proc/$$/exe; ulimit -a
for n in {0..20}; do [ -e /proc/$$/fd/$n ] && echo fd $n; done
exec cat`

async function spawned(sandbox: Sandbox, env: Record<string, string>): Promise<{ text: string; pid: number }> {
  const args = ['/bin/bash', '-c', inspection, "it's", '$HOME', 'ünï']
  const process = await sandbox.spawn({ id: 'agent', args, env, cwd: '/workspace', ...first })
  await process.write('one')
  await process.write('the last line')
  let text = ''
  for await (const line of process.output()) {
    text += `${line.text}\n`
    if (line.text === 'the last line') break
  }
  return { text, pid: process.pid() as number }
}

test.each<[string, Record<string, string>, boolean]>([
  ['of any kind', { COLOUR: 'it\'s $blue `x` \\ "y" *', EMPTY: '' }, true],
  ['with lines in a variable', { TEXT: "\none\n\n'two'\n" }, true],
  ['with a variable that means something to a shell', { IFS: 'x', PWD: '/somewhere' }, false],
  ['with a name that no shell takes', { 'a.b-c': '1' }, false],
])(
  'a process %s is started in it as in any other, and reads what is written to it from the first byte',
  async (_, env, waits) => {
    const files = { templateImage: host.templateImage, layers: [] }
    const made = await host.engine.create(specOf('plain'))
    const prepared = await host.engine.prepare(specOf('become'), first)
    const sandbox = await prepared.furnish(files)
    try {
      const waiting = Number(await readFile(`/run/vm0/${host.installation}/become/exec-0.pid`, 'utf8'))
      expect(await sandbox.processes()).toEqual([])
      const started = await spawned(sandbox, env)
      expect(started.text).toBe((await spawned(made, env)).text)
      expect(started.text).toContain('one\nthe last line\n')
      expect(started.pid === waiting).toBe(waits)
      expect(await sandbox.processes()).toEqual([])
      // A second one has none that waits.
      const second = await sandbox.spawn({ id: 'second', args: ['sh', '-c', 'exit 3'], env: {}, cwd: '/', ...first })
      expect(await second.exited).toEqual({ exitCode: 3, reason: 'exit' })
    } finally {
      await Promise.all([made.close(), sandbox.close()])
    }
  },
)

test.each([
  ['links', 127, ['/nowhere'], '/'],
  ['folder', 127, ['true'], '/nowhere'],
])('a command that is not there (%s) ends as a shell has it', async (name, exitCode, args, cwd) => {
  const prepared = await host.engine.prepare(specOf(`no${name}`), first)
  const sandbox = await prepared.furnish({ templateImage: host.templateImage, layers: [] })
  const process = await sandbox.spawn({ id: 'agent', args, env: {}, cwd, ...first })
  expect(await process.exited).toEqual({ exitCode, reason: 'exit' })
  await sandbox.close()
})

test.each([
  ['a link where a folder of the platform goes', 'opt', (root: string) => symlink('/workspace', join(root, 'opt'))],
  ['a file where the kernel shows its own', 'proc', (root: string) => writeFile(join(root, 'proc'), '')],
  [
    'a link where the name servers are told',
    'links',
    async (root: string) => {
      await mkdir(join(root, 'etc'))
      await symlink('../../../../etc/passwd', join(root, 'etc/resolv.conf'))
    },
  ],
])('%s: it is not followed, and nothing is left of the sandbox', async (_, name, fill) => {
  const odd = await layer(`odd-${name}`, fill)
  const prepared = await host.engine.prepare(specOf(`odd${name}`), first)
  const furnished = prepared.furnish({ templateImage: host.templateImage, layers: [odd] })
  await expect(furnished).rejects.toMatchObject({ code: 'SANDBOX_START_FAILED' })
  await expect(furnished).rejects.toThrow(/is in the way: expected a (file|folder)/)
  expect(await readdir(join(host.directory, 'sandboxes'))).toEqual([])
})

test('one whose first process has ended is not used', async () => {
  const prepared = await host.engine.prepare(specOf('ended'), first)
  const record = await readFile(join(host.directory, 'sandboxes/ended/sandbox.json'), 'utf8')
  const { pid } = (JSON.parse(record) as SandboxRecord).init
  process.kill(pid, 'SIGKILL')
  await vi.waitFor(async () =>
    expect(await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') Z')).toMatch(/\) [ZX]/),
  )
  await expect(prepared.furnish({ templateImage: host.templateImage, layers: [] })).rejects.toMatchObject({
    code: 'SANDBOX_START_FAILED',
  })
  expect(await readdir(join(host.directory, 'sandboxes'))).toEqual([])
})

test('a later process has it again with the files that it got', async () => {
  const prepared = await host.engine.prepare(specOf('kept'), first)
  await host.engine.prepare(specOf('unused'), first)
  const note = await layer('note', (root) => writeFile(join(root, 'note'), 'of the session\n'))
  const before = await prepared.furnish({ templateImage: host.templateImage, layers: [note] })
  await sh(before, 'echo new >/new')
  const again: SandboxEngine = await openOciEngine({
    installation: host.installation,
    dataDir: host.directory,
    gatewayPort,
    adopt: (id) => id === 'kept',
  })
  try {
    const [sandbox] = again.adopted as [Sandbox]
    expect((await sh(sandbox, 'cat /note /new')).out).toBe('of the session\nnew\n')
    await sandbox.withUpperView(async (view) => expect(await readdir(view)).toEqual(expect.arrayContaining(['new'])))
    expect(await readdir(join(host.directory, 'sandboxes'))).toEqual(['kept'])
  } finally {
    await again.close()
  }
})
