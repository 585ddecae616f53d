import { execFile } from 'node:child_process'
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  open,
  readFile,
  readdir,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Vm0Event } from '@vm0/contract'
import { createClient, RunError, Vm0Error, type Session } from '../packages/vm0/src/index.js'
import { CuttingProxy } from './support/cutting-proxy.js'
import { TestPlatform } from './support/platform.js'

const shell = (command: string) => ({ tools: [{ name: 'Bash', input: { command, description: 'x' } }] })
const script = {
  name: 'sdk',
  conversations: [
    { when: 'hang', steps: [{ fault: { kind: 'hang' as const } }] },
    {
      when: 'talk a lot',
      steps: [
        ...Array.from({ length: 6 }, (_, index) => ({
          text: `Step ${index}: ${'so it goes. '.repeat(20)}`,
          ...shell(`seq ${index} 400; echo héllo`),
        })),
        { text: 'said it all' },
      ],
    },
    { when: 'hello', steps: [{ text: 'hello' }] },
  ],
}

let platform: TestPlatform
let folder: string
beforeAll(async () => {
  platform = await TestPlatform.start([script])
  folder = await mkdtemp(join(tmpdir(), 'vm0-sdk-'))
})
afterAll(async () => {
  await platform.stop()
  await rm(folder, { recursive: true, force: true })
})
let local: string
beforeEach(async () => {
  local = await mkdtemp(join(folder, 'case-'))
})

async function collect(events: AsyncIterable<Vm0Event>): Promise<Vm0Event[]> {
  const all: Vm0Event[] = []
  for await (const event of events) all.push(event)
  return all
}

const rejection = (promise: PromiseLike<unknown>): Promise<Vm0Error> =>
  Promise.resolve(promise).then(
    () => expect.fail('expected a rejection'),
    (error: Vm0Error) => error,
  )

test('a folder goes into a session and comes back with modes, links, times, odd names and what .gitignore excludes', async () => {
  const source = join(local, 'source')
  await mkdir(join(source, 'deep', 'empty'), { recursive: true })
  await writeFile(join(source, '.gitignore'), '*.log\n')
  await writeFile(join(source, 'kept.log'), 'also ignored files go')
  await writeFile(join(source, 'deep', 'naïve name.bin'), Buffer.from([0, 255, 10, 13]))
  await writeFile(join(source, 'script.sh'), '#!/bin/sh\n', { mode: 0o775 })
  await chmod(join(source, 'script.sh'), 0o775)
  await writeFile(join(source, `${'long-'.repeat(40)}.txt`), 'long')
  await symlink('../script.sh', join(source, 'deep', 'link'))
  await chmod(join(source, 'deep'), 0o555)
  const session = await platform.client.sessions.create()
  await session.files.upload(source, '/workspace/copy')
  expect((await session.exec('stat -c "%a %U" copy/script.sh copy/deep; readlink copy/deep/link')).stdout).toBe(
    '775 root\n555 root\n../script.sh\n',
  )
  expect(await session.files.stat('/workspace/copy/deep/link')).toMatchObject({ type: 'symlink', name: 'link' })
  expect(await session.files.stat('/workspace/copy/')).toMatchObject({ type: 'directory', name: 'copy' })
  await expect(session.files.stat('/workspace/nothing')).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })

  const back = join(local, 'back')
  await mkdir(back)
  await writeFile(join(back, 'script.sh'), 'an older one')
  await writeFile(join(back, 'mine.txt'), 'stays')
  const result = await session.files.download('/workspace/copy', back)
  expect(result).toMatchObject({ files: 6, skipped: [] })
  expect((await readdir(back)).toSorted()).toEqual([...(await readdir(source)), 'mine.txt'].toSorted())
  expect(await readFile(join(back, 'deep', 'naïve name.bin'))).toEqual(Buffer.from([0, 255, 10, 13]))
  expect(await readlink(join(back, 'deep', 'link'))).toBe('../script.sh')
  expect((await stat(join(back, 'script.sh'))).mode & 0o777).toBe(0o775)
  expect((await stat(join(back, 'deep'))).mode & 0o777).toBe(0o555)
  expect((await stat(join(back, 'deep', 'empty'))).isDirectory()).toBe(true)
  const times = await Promise.all(['source', 'back'].map((name) => stat(join(local, name, 'kept.log'))))
  expect(Math.floor(times[1]!.mtimeMs / 1000)).toBe(Math.floor(times[0]!.mtimeMs / 1000))
  expect(await readFile(join(back, 'script.sh'), 'utf8')).toBe('#!/bin/sh\n')
})

test('a file goes and comes under another name; what is no file or folder is refused by name', async () => {
  const session = await platform.client.sessions.create()
  await writeFile(join(local, 'a.txt'), 'text', { mode: 0o640 })
  await session.files.upload(join(local, 'a.txt'), '/srv/new folder/b.txt')
  await session.exec('ln -s "/srv/new folder/b.txt" /srv/link; mkfifo /srv/pipe')
  await session.files.download('/srv/link', join(local, 'there', 'c.txt'))
  expect(await readFile(join(local, 'there', 'c.txt'), 'utf8')).toBe('text')
  expect((await lstat(join(local, 'there', 'c.txt'))).mode & 0o777).toBe(0o640)
  const { skipped } = await session.files.download('/srv', join(local, 'srv'), { outsideLinks: 'skip' })
  expect(skipped.map(({ path }) => path).toSorted()).toEqual(['link', 'pipe'])
  await expect(session.files.download('/srv/nothing', join(local, 'x'))).rejects.toMatchObject({
    code: 'FILE_NOT_FOUND',
  })
  await expect(session.files.upload(join(local, 'nothing'), '/srv/x')).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
  await expect(session.files.upload(join(local, 'a.txt'), '/srv/pipe/x')).rejects.toMatchObject({
    code: 'FILE_INVALID',
  })
  await promisify(execFile)('mkfifo', [join(local, 'pipe')])
  await expect(session.files.upload(local, '/srv/y')).rejects.toMatchObject({
    code: 'FILE_INVALID',
    message: expect.stringContaining('pipe') as string,
  })
})

test('an upload that does not fit is told as a full disk, and the session goes on', async () => {
  const session = await platform.client.sessions.create({ resources: { diskMiB: 64 } })
  const file = await open(join(local, 'large'), 'w')
  await file.truncate(300 * 1024 ** 2)
  await file.close()
  const error = await rejection(session.files.upload(local, '/workspace/copy'))
  expect(error).toMatchObject({ code: 'SANDBOX_DISK_FULL', status: 507 })
  await session.files.remove('/workspace/copy')
  expect(await session.files.list()).toEqual([])
  await session.close()
})

test("a path with .. names what it names in the sandbox, not another of the server's calls", async () => {
  const session = await platform.client.sessions.create()
  const other = await platform.client.sessions.create()
  await expect(session.files.remove(`/../../${other.id}`)).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
  expect((await other.get()).id).toBe(other.id)
})

/** Has `tar` in the sandbox, which may do what it likes there, answer with this archive. */
async function answerWith(session: Session, python: string): Promise<void> {
  await session.files.write(
    '/evil.py',
    `import io, tarfile
archive = tarfile.open('/evil.tar', 'w')
def add(name, kind=tarfile.REGTYPE, link='', data=b'evil'):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.mode = kind, link, 0o4777
    entry.size = len(data) if kind == tarfile.REGTYPE else 0
    archive.addfile(entry, io.BytesIO(data) if entry.size else None)
add('./', tarfile.DIRTYPE)
${python}
archive.close()
`,
  )
  const made = await session.exec(
    'python3 /evil.py && rm -f /usr/local/bin/tar && printf "#!/bin/sh\\nexec cat /evil.tar\\n" >/usr/local/bin/tar && chmod +x /usr/local/bin/tar',
  )
  expect(made).toMatchObject({ exitCode: 0 })
}

test.each([
  ['a name with ..', "add('./good'); add('./sub/../../escaped')"],
  ['an absolute name', (path: string) => `add('./good'); add('${path}/escaped')`],
  [
    'a file through a link to the outside',
    (path: string) => `add('./a', tarfile.SYMTYPE, '${path}'); add('./a/escaped')`,
  ],
  [
    'a file through a link to a folder inside',
    "add('./d', tarfile.DIRTYPE); add('./a', tarfile.SYMTYPE, 'd'); add('./a/escaped')",
  ],
  ['a link out', "add('./good'); add('./a', tarfile.SYMTYPE, '../escaped')"],
  [
    'a link out by way of another link',
    "add('./p', tarfile.DIRTYPE); add('./p/s', tarfile.SYMTYPE, '..'); add('./t', tarfile.SYMTYPE, 'p/s/../../escaped')",
  ],
  ['a hard link to the outside', "add('./a', tarfile.LNKTYPE, '../victim')"],
  ['a hard link to a file that is not of the archive', "add('./a', tarfile.LNKTYPE, './missing/victim')"],
  ['a file in place of a folder', "add('./d', tarfile.DIRTYPE); add('./d/x'); add('./d')"],
  ['a broken archive', "archive.fileobj.write(b'\\xff' * 512); add('./x')"],
])('a download never leaves its folder: %s', async (_name, evil) => {
  const session = await platform.client.sessions.create()
  await writeFile(join(local, 'victim'), 'untouched')
  await answerWith(session, typeof evil === 'string' ? evil : evil(local))
  const error = await rejection(session.files.download('/workspace', join(local, 'target')))
  expect(error).toMatchObject({ name: 'Vm0Error', code: 'FILE_INVALID' })
  expect(error.hint.length).toBeGreaterThan(10)
  expect((await readdir(local)).toSorted()).toEqual(['target', 'victim'])
  expect(await readFile(join(local, 'victim'), 'utf8')).toBe('untouched')
  expect((await readdir(join(local, 'target'))).filter((name) => name.startsWith('.vm0-'))).toEqual([])
  if ((await readdir(join(local, 'target'))).includes('good'))
    expect((await stat(join(local, 'target', 'good'))).mode & 0o7777).toBe(0o777)
})

test('a link of the local folder is not followed by a download', async () => {
  const session = await platform.client.sessions.create()
  await session.exec('mkdir -p sub; echo new >sub/victim; echo new >file')
  await mkdir(join(local, 'elsewhere'))
  await writeFile(join(local, 'elsewhere', 'victim'), 'untouched')
  await mkdir(join(local, 'target'))
  await symlink('../elsewhere/victim', join(local, 'target', 'file'))
  await symlink('../elsewhere', join(local, 'target', 'sub'))
  await expect(session.files.download('/workspace', join(local, 'target'))).rejects.toMatchObject({
    code: 'FILE_INVALID',
  })
  await rm(join(local, 'target', 'sub'))
  await session.files.download('/workspace', join(local, 'target'))
  expect(await readFile(join(local, 'target', 'file'), 'utf8')).toBe('new\n')
  expect(await readFile(join(local, 'elsewhere', 'victim'), 'utf8')).toBe('untouched')
})

/** Runs a program that uses the built package; fails when it ends with another status than 0. */
async function program(source: string): Promise<{ stdout: string; stderr: string }> {
  const path = join(local, 'program.mjs')
  const entry = join(import.meta.dirname, '../packages/vm0/dist/index.js')
  await writeFile(path, `import { createClient, RunError, vm0 } from ${JSON.stringify(entry)}\n${source}`)
  return promisify(execFile)(process.execPath, ['--unhandled-rejections=strict', path], {
    env: { ...process.env, NODE_OPTIONS: '', VM0_API_URL: platform.url, VM0_API_KEY: platform.apiKey },
  })
}

test('files of any size pass through bounded memory', async () => {
  const { stdout } = await program(`
    import { open } from 'node:fs/promises'
    const file = await open(${JSON.stringify(join(local, 'large'))}, 'w')
    await file.truncate(400 * 1024 ** 2)
    await file.close()
    const session = await vm0.sessions.create()
    await session.files.upload(${JSON.stringify(join(local, 'large'))}, '/workspace/large')
    const { bytes } = await session.files.download('/workspace', ${JSON.stringify(join(local, 'copy'))})
    console.log(bytes, process.resourceUsage().maxRSS < 256 * 1024)
    await session.delete()`)
  expect(stdout).toBe(`${400 * 1024 ** 2} true\n`)
})

test('what nobody awaits is no unhandled rejection, and a program that ends leaves its run running', async () => {
  const { stdout, stderr } = await program(`
    const nowhere = createClient({ url: 'http://127.0.0.1:9', apiKey: 'x', retries: 0 })
    nowhere.run({ prompt: 'x' })
    vm0.run({ prompt: 'x', framework: 'nope' })
    vm0.run({ prompt: 'x', workspace: '/nonexistent' })
    vm0.run({ prompt: 'x', signal: AbortSignal.abort() })
    vm0.runs.get('019aaaaa-0000-7000-8000-00000000dead')
    const run = vm0.run({ prompt: 'hello' })
    await run.get()
    console.log(run.id, run.session.id)`)
  expect(stderr).toBe('')
  const [runId, sessionId] = stdout.trim().split(' ')
  const run = platform.client.runs.get(runId as string)
  expect(() => run.session).toThrow('not known yet')
  const result = await run
  expect([result.text, result.session.id, run.session.id]).toEqual(['hello', sessionId, sessionId])
})

test('result() never throws: a run that could not be created is failed, with its reason and error', async () => {
  const run = platform.client.run({ prompt: 'x', framework: 'nope' })
  expect(await run.result()).toMatchObject({
    outcome: 'failed',
    reason: 'unknown_framework',
    text: '',
    costUsd: 0,
    checkpoint: null,
    error: { code: 'UNKNOWN_FRAMEWORK' },
    session: { id: run.session.id },
  })
  const error = await rejection(run)
  expect(error).toBeInstanceOf(RunError)
  expect(error).toMatchObject({
    code: 'UNKNOWN_FRAMEWORK',
    outcome: 'failed',
    reason: 'unknown_framework',
    status: 400,
  })
  expect(error.hint.length).toBeGreaterThan(10)
  expect(error.requestId).toBeTruthy()
  const nowhere = createClient({ url: 'http://127.0.0.1:9', apiKey: 'x', retries: 0 }).runs.get(run.id)
  expect(await nowhere.result()).toMatchObject({ outcome: 'failed', reason: 'server_unreachable' })
})

test('a run that did not succeed throws all that is known of it', async () => {
  const run = platform.client.run({ prompt: 'hang', limits: { timeoutMs: 2000 } })
  const error = await rejection(run)
  expect(error).toBeInstanceOf(RunError)
  expect(error).toMatchObject({ code: 'TIMED_OUT', outcome: 'failed', reason: 'timed_out', retryable: true })
  expect((error as RunError).result).toMatchObject({ outcome: 'failed', session: { id: run.session.id } })
  expect((error as RunError).result.timings.totalMs).toBeGreaterThan(0)
})

test('a signal cancels the run; aborted before, nothing is sent', async () => {
  const before = platform.client.run({ prompt: 'hello', signal: AbortSignal.abort() })
  expect(await before.result()).toMatchObject({ outcome: 'cancelled', reason: 'cancelled' })
  expect(await rejection(before.session.get())).toMatchObject({ code: 'NOT_FOUND' })
  const stop = new AbortController()
  const run = platform.client.run({ prompt: 'hang', signal: stop.signal })
  for await (const event of run) {
    if (event.type === 'model.request') stop.abort()
    if (event.type === 'run.finished') expect(event.outcome).toBe('cancelled')
  }
  expect(await rejection(run)).toMatchObject({ code: 'CANCELLED', outcome: 'cancelled' })
})

test('a new session may be used at once: runs keep their order, commands wait until it is there', async () => {
  const first = platform.client.run({ prompt: 'hello', workspace: local })
  const second = first.session.run('hello again')
  await first.session.files.write('/workspace/early.txt', 'early')
  expect((await first.session.exec('cat early.txt')).stdout).toBe('early')
  const runs = (await Promise.all([first, second]), await platform.client.runs.list({ sessionId: first.session.id }))
  expect(runs.items.map(({ id }) => id)).toEqual([second.id, first.id])
  // A first run that is refused leaves the session to the next one.
  const refused = platform.client.run({ prompt: 'x', template: 'nope' })
  const next = refused.session.run('hello')
  expect(await refused.result()).toMatchObject({ reason: 'unknown_template' })
  expect((await next).text).toBe('hello')
})

test.each([11, 12, 13])('a stream that breaks at any point goes on without loss or repeat (seed %i)', async (seed) => {
  const proxy = await CuttingProxy.start(platform.url, seed, { maxCuts: 25, minBytes: 300, maxBytes: 5000 })
  try {
    const client = createClient({ url: proxy.url, apiKey: platform.apiKey, retries: 30 })
    const run = client.run({ prompt: 'talk a lot' })
    const events = await collect(run)
    const { text } = await run
    expect(text).toBe('said it all')
    expect(events).toEqual(await collect(platform.client.runs.get(run.id).history()))
    expect(proxy.cuts).toBeGreaterThan(5)
    // Sent more than once or not, it was one run.
    expect((await platform.client.runs.list({ sessionId: run.session.id })).items).toHaveLength(1)
  } finally {
    await proxy.close()
  }
})

test('an exact release can be installed again, anything else is refused with its reason', async () => {
  const lines: string[] = []
  const { frameworks } = platform.client
  const view = await frameworks.install('claude-code', '2.1.330', { onProgress: (line) => lines.push(line) })
  expect(view.versions).toContain('2.1.330')
  await expect(frameworks.install('claude-code', 'latest')).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
  await expect(frameworks.install('nope', '1.0.0')).rejects.toMatchObject({ code: 'UNKNOWN_FRAMEWORK' })
  await expect(frameworks.install('claude-code', '0.0.1')).rejects.toMatchObject({ code: 'AGENT_RELEASE_MISSING' })
  expect((await frameworks.list())[0]?.versions).toEqual(view.versions)
})
