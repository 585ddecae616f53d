import { execFile } from 'node:child_process'
import { appendFile, cp, mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { command, commandPath, objects, type CommandOptions } from './support/command.js'
import { TestPlatform } from './support/platform.js'

const tool = (name: string, input: object) => ({ tools: [{ name, input: input as Record<string, unknown> }] })
const shell = (line: string) => tool('Bash', { command: line, description: 'x' })
const evil = '\u001B]0;pwned\u0007\u001B[2J\u001B[31mred\u009B5mblink\u0008\u202E'
const script = {
  name: 'cli',
  conversations: [
    { when: 'hang', steps: [{ fault: { kind: 'hang' as const } }] },
    { when: 'model says 401', steps: [{ fault: { kind: 'status' as const, status: 401 } }] },
    { when: 'crash', steps: [shell('kill -9 $PPID'), { text: 'never' }] },
    {
      when: 'do harm',
      steps: [
        { text: `I say ${evil} this.\n`, ...tool('Read', { file_path: `/workspace/${evil}` }) },
        shell(`printf '\\033]0;pwned\\007\\033[2J'; exit 3 # ${evil}`), // the agent itself refuses this one
        shell("printf '\\033]0;pwned\\007\\033[2J'; exit 3"),
        { text: `done ${evil}` },
      ],
    },
    {
      when: 'mend',
      steps: [
        { text: "I'll look. ", ...tool('Read', { file_path: '/workspace/src/clock.txt' }) },
        tool('Edit', { file_path: '/workspace/src/clock.txt', old_string: 'two\n', new_string: '2\ntwo and a half\n' }),
        shell(
          'echo made >made.txt; mkdir -p .git/hooks; echo evil >.git/hooks/pre-commit; rm -f gone.txt kept.txt; exit 4',
        ),
        shell('echo ignored >out.log; ln -s /etc/passwd outside; true'),
        { text: 'mended' },
      ],
    },
    { when: 'hello', steps: [{ text: 'hello' }] },
    { when: 'long', steps: [shell('seq 1 3000'), { text: 'x'.repeat(200_000) }] },
  ],
}

let platform: TestPlatform
let folder: string
beforeAll(async () => {
  platform = await TestPlatform.start([script])
  folder = await mkdtemp(join(tmpdir(), 'vm0-cli-'))
})
afterAll(async () => {
  await platform.stop()
  await rm(folder, { recursive: true, force: true })
})
let local: string
beforeEach(async () => {
  local = await mkdtemp(join(folder, 'case-'))
})

const vm0 = (args: string[], options?: CommandOptions) => command(platform, args, options)

describe('run', () => {
  test('shows the work in lines, and what to type next', async () => {
    await mkdir(join(local, 'src'))
    await writeFile(join(local, 'src', 'clock.txt'), 'one\ntwo\nthree\n')
    const { status, stdout } = await vm0(['run', 'mend', 'it', '-w', '.'], { cwd: local })
    expect(status).toBe(0)
    const lines = stdout.split('\n')
    expect(lines[0]).toMatch(
      /^✓ ready in [\d.]+ m?s   session [0-9a-f]{8}  standard@[0-9a-f]{8}  claude-code 2\.1\.\d+$/,
    )
    expect(lines[1]).toBe("  I'll look.")
    expect(lines[2]).toBe('  ▸ Read   src/clock.txt')
    expect(lines[3]).toBe('  ▸ Edit   src/clock.txt                  +2 −1')
    expect(lines[4]).toMatch(/^ {2}▸ Bash   echo made >made\.txt; .*…? +✗ exit 4   \d+/)
    expect(lines[5]).toMatch(/^ {2}▸ Bash   echo ignored >out\.log; .* +✓ +\d+/)
    expect(lines[6]).toBe('  mended')
    expect(lines[7]).toMatch(/^✓ done in [\d.]+ m?s   \$\d+\.\d\d   \d+ files? changed   checkpoint [0-9a-f]{8}$/)
    expect(lines[8]).toMatch(/^ {2}queued \d+/)
    const session = /session ([0-9a-f]{8})/.exec(stdout)?.[1]
    expect(lines[9]).toBe(`  vm0 pull   ·   vm0 run -s ${session} "…"   ·   vm0 trace`)
    expect(stdout).not.toContain('\u001B')
    const logs = await vm0(['logs'])
    expect(logs.stdout.split('\n').slice(1, 7)).toEqual(lines.slice(1, 7))
  })

  test('says what went wrong, why, and what to do, and has a status for it', async () => {
    const refused = await vm0(['run', 'model says 401'])
    const lines = refused.stdout.trimEnd().split('\n').slice(-3)
    expect(refused.status).toBe(3)
    expect(lines[0]).toMatch(/^✗ failed \(model_unauthorized\) after [\d.]+ m?s   \$0\.00   MODEL_UNAUTHORIZED$/)
    expect(lines[1]).toMatch(/^ {2}\S/)
    expect(lines[2]).toMatch(/^ {2}Set a valid ANTHROPIC_API_KEY/)
    expect((await vm0(['run', '--on-loss', 'fail', 'crash now'])).status).toBe(6)
    const unknown = await vm0(['run', '-f', 'nope', 'x'])
    expect([unknown.status, unknown.stdout]).toEqual([2, ''])
    expect(unknown.stderr).toMatch(/^error UNKNOWN_FRAMEWORK: .*\nList what is available/)
    const nowhere = await vm0(['runs'], { env: { VM0_API_URL: 'http://127.0.0.1:9', VM0_API_KEY: 'x' } })
    expect([nowhere.status, nowhere.stderr.split(':')[0]]).toEqual([7, 'error SERVER_UNREACHABLE'])
    expect((await vm0(['run'])).status).toBe(2)
    expect((await vm0(['run', '--nope', 'x'])).status).toBe(2)
  })

  test('is cancelled by Ctrl-C', async () => {
    let interrupted = false
    const { status, stdout } = await vm0(['run', 'hang please'], {
      onOutput(text, kill) {
        if (interrupted || !text.includes('ready in')) return
        interrupted = true
        kill('SIGINT')
      },
    })
    expect(status).toBe(5)
    expect(stdout).toContain('✗ cancelled after')
  })

  test('takes the prompt from stdin, and options from variables that mirror them', async () => {
    const first = await vm0(['run', '--json', '-'], { input: 'hello from a pipe\n' })
    expect(first.status).toBe(0)
    const [queued] = objects(first)
    const { sessionId } = queued as { sessionId: string }
    const env = { VM0_SESSION: sessionId.slice(-8), VM0_MODEL: 'claude-opus-4-5' }
    const second = await vm0(['run', '--json', 'hello'], { env })
    expect(objects(second)[0]?.sessionId).toBe(sessionId)
    expect(objects(second).find(({ type }) => type === 'run.started')?.model).toBe('claude-opus-4-5')
    expect(platform.model.requests.some(({ messages }) => JSON.stringify(messages).includes('hello from a pipe'))).toBe(
      true,
    )
    expect((await vm0(['run', 'x'], { env: { VM0_MEMORY: 'much' } })).stderr).toContain('VM0_MEMORY is "much"')
    expect((await vm0(['run', 'x'], { env: { VM0_FRAMEWORK: 'nope' } })).stderr).toContain('UNKNOWN_FRAMEWORK')
    const large = await vm0(['run', '-'], { input: 'x'.repeat(3_000_000) })
    expect([large.status, large.stderr.split(':')[0]]).toEqual([2, 'error REQUEST_TOO_LARGE'])
    expect((await vm0(['run', '-'], { input: '  \n' })).stderr).toContain('PROMPT_EMPTY')
  })

  test('leaves it running when detached, and it can be followed', async () => {
    const [ids] = objects(await vm0(['run', '--detach', '--json', 'hello']))
    expect(Object.keys(ids as object)).toEqual(['runId', 'sessionId'])
    const logs = await vm0(['logs', '-f', '--json', (ids as { runId: string }).runId.slice(-8)])
    expect(objects(logs).at(-1)).toMatchObject({ type: 'run.finished', outcome: 'succeeded', ...ids })
  })
})

// oxlint-disable-next-line no-control-regex -- the terminal's own newlines and our own colours are left
const harmful = /(?!\u001B\[(?:0|1|2|3\d)m)[\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F\u202E]/
/** How our own bar takes back its line. */
const barErased = '\r\u001B[K'

test("no control character of an agent's reaches the terminal", async () => {
  const run = await vm0(['run', 'do harm'], { terminal: true })
  expect(run.stdout).toContain('\u001B[32m✓\u001B[0m ready')
  expect(run.stdout).toContain('I say redblink␈ this.')
  expect(run.stdout).toContain('✗ exit 3')
  const outputs = [
    run,
    ...(await Promise.all([['logs'], ['runs', 'show']].map((args) => vm0(args, { terminal: true })))),
  ]
  await vm0(['exec', '--', 'sh', '-c', `printf 'a\\033[2Jb' >/workspace/file; touch '/workspace/${evil}'`])
  outputs.push(await vm0(['exec', '--', 'sh', '-c', 'cat file; ls /workspace; cat file >&2'], { terminal: true }))
  outputs.push(await vm0(['pull', '-o', join(local, 'there')], { terminal: true }))
  for (const { stdout, status } of outputs) {
    expect(status).toBe(0)
    expect(stdout.replaceAll(barErased, '')).not.toMatch(harmful)
  }
  for (const args of [
    ['logs', '--json'],
    ['exec', '--json', '--', 'cat', 'file'],
  ])
    expect((await vm0(args)).stdout).not.toMatch(/[^\P{Cc}\n]/u)
  // In a pipe a command's output is what it wrote.
  expect((await vm0(['exec', '--', 'cat', 'file'])).stdout).toBe('a\u001B[2Jb')
})

test('a reader that has enough is no error', async () => {
  await vm0(['run', 'long'])
  const { stdout } = await promisify(execFile)(
    'bash',
    ['-c', `set -o pipefail; "${process.execPath}" "${commandPath}" logs --json | head -c 100 >/dev/null; echo $?`],
    { env: { ...process.env, VM0_CONFIG: join(platform.directory, 'config.json') } },
  )
  expect(stdout).toBe('0\n')
})

test('sessions and runs: list, show and remove, each also as one object a line', async () => {
  const [{ runId, sessionId }] = objects(await vm0(['run', '--detach', '--json', 'hello'])) as [Record<string, string>]
  await vm0(['logs', '-f'])
  const session = sessionId!.slice(-8)
  for (const list of [['sessions'], ['sessions', 'ls']])
    expect((await vm0(list)).stdout.split('\n')[1]).toContain(session)
  for (const list of [
    ['runs', '--limit', '1'],
    ['runs', 'ls', '-s', session],
  ])
    expect((await vm0(list)).stdout).toMatch(new RegExp(`^RUN .*\\n${runId!.slice(-8)}  ${session}  succeeded`))
  const [sessionView] = objects(await vm0(['sessions', '--json', '--limit', '1']))
  expect(sessionView).toMatchObject({ id: sessionId, state: 'idle', runs: 1 })
  expect(objects(await vm0(['sessions', 'show', '--json']))).toEqual([sessionView])
  expect((await vm0(['sessions', 'show', session])).stdout).toMatch(/state +idle[^]*runs +1 run\n\nRUN /)
  const [runView] = objects(await vm0(['runs', '--json', '--limit', '1']))
  expect(runView).toMatchObject({ id: runId, sessionId, state: 'succeeded', text: 'hello' })
  expect(objects(await vm0(['runs', 'show', runId!.slice(-8), '--json']))).toEqual([runView])
  expect((await vm0(['runs', 'show'])).stdout).toMatch(/state +succeeded[^]*\n\nhello\n$/)
  expect(objects(await vm0(['close', '--json']))).toMatchObject([{ id: sessionId, state: 'idle' }])
  expect((await vm0(['cancel', '--json'])).status).toBe(0)
  expect(objects(await vm0(['exec', '--json', '--', 'sh', '-c', 'echo out; exit 7']))).toEqual([
    { type: 'stdout', text: 'out\n' },
    { type: 'exit', exitCode: 7 },
  ])
  expect(objects(await vm0(['sessions', 'rm', session, '--json']))).toEqual([{ id: sessionId, deleted: true }])
  const gone = await vm0(['sessions', 'show', sessionId!])
  expect([gone.status, gone.stderr.split(':')[0]]).toEqual([2, 'error SESSION_DELETED'])
  expect((await vm0(['sessions', 'nonsense'])).status).toBe(2)
})

test('without an id, a command takes the session that was used last', async () => {
  const sessions = [await platform.client.sessions.create(), await platform.client.sessions.create()]
  expect(objects(await vm0(['sessions', 'show', '--json']))[0]?.id).toBe(sessions[1]!.id)
  await sessions[0]!.run('hello')
  expect(objects(await vm0(['sessions', 'show', '--json']))[0]?.id).toBe(sessions[0]!.id)
  await sessions[0]!.delete()
  expect(objects(await vm0(['sessions', 'show', '--json']))[0]?.id).toBe(sessions[1]!.id)
})

test('keys and frameworks', async () => {
  const [made] = objects(await vm0(['keys', 'create', 'ci', '--json'])) as [Record<string, string>]
  expect(made).toMatchObject({ name: 'ci', key: expect.stringMatching(/^vm0_/) as string })
  const plain = (await vm0(['keys', 'create', 'two'])).stdout.trim()
  expect((await vm0(['runs'], { env: { VM0_API_KEY: plain } })).status).toBe(0)
  expect((await vm0(['keys'])).stdout).toContain(made.id!)
  expect(objects(await vm0(['keys', 'ls', '--json'])).map(({ name }) => name as string)).toContain('ci')
  expect(objects(await vm0(['keys', 'revoke', made.id!, '--json']))).toEqual([{ id: made.id, revoked: true }])
  const refused = await vm0(['runs'], { env: { VM0_API_KEY: made.key! } })
  expect([refused.status, refused.stderr.split(':')[0]]).toEqual([7, 'error UNAUTHENTICATED'])
  expect((await vm0(['frameworks'])).stdout).toMatch(/^FRAMEWORK .*\nclaude-code +\d/)
  const installed = await vm0(['frameworks', 'install', 'claude-code@2.1.330', '--json'])
  expect(objects(installed).at(-1)).toMatchObject({ type: 'installed', framework: { name: 'claude-code' } })
  for (const wanted of ['claude-code', 'claude-code@latest', '@1.0.0', 'nope@1.0.0'])
    expect((await vm0(['frameworks', 'install', wanted])).status).toBe(2)
  expect((await vm0(['frameworks', 'install', 'claude-code@0.0.1'])).stderr).toContain('AGENT_RELEASE_MISSING')
})

test('every command tells how to use it, with examples', async () => {
  const nouns = {
    sessions: ['ls', 'show', 'rm', 'upgrade'],
    runs: ['ls', 'show'],
    keys: ['ls', 'create', 'revoke'],
    frameworks: ['ls', 'install'],
    projects: ['ls', 'show', 'create', 'set'],
    templates: ['build', 'from-session', 'ls', 'show', 'promote', 'rollback', 'rm'],
    encryption: ['ls', 'rotate', 'reseal', 'drop'],
    webhooks: ['ls', 'add', 'rm', 'deliveries', 'test'],
  }
  const single = [
    'up',
    'run',
    'logs',
    'trace',
    'why',
    'top',
    'insights',
    'compare',
    'replay',
    'push',
    'pull',
    'exec',
    'close',
    'cancel',
    'rm',
    'answer',
    'log',
    'diff',
    'fork',
    'rollback',
    'save',
    'export',
    'import',
    'fsck',
    'gc',
    'doctor',
    'bench',
  ]
  const commands = [
    [],
    ...single.map((name) => [name]),
    ...Object.entries(nouns).flatMap(([noun, verbs]) => [[noun], ...verbs.map((verb) => [noun, verb])]),
  ]
  const helps = await Promise.all(commands.map((args) => vm0([...args, '--help'])))
  for (const [index, { status, stdout }] of helps.entries()) {
    expect([commands[index], status]).toEqual([commands[index], 0])
    expect(stdout).toContain('Examples:\n  vm0 ')
  }
  // What the first help lists is what there is.
  const listed = /COMMANDS\n([^]*)$/
    .exec(helps[0]!.stdout)?.[1]
    ?.trimEnd()
    .split('\n')
    .map((line) => line.trim().split(' ')[0])
  expect(listed?.toSorted()).toEqual([...single, ...Object.keys(nouns)].toSorted())
  expect((await vm0(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
})

describe('pull', () => {
  test("brings back what the agent changed, and never overwrites one's own changes unasked", async () => {
    await mkdir(join(local, 'src'))
    await writeFile(join(local, '.gitignore'), '*.log\n')
    await writeFile(join(local, 'src', 'clock.txt'), 'one\ntwo\nthree\n')
    await writeFile(join(local, 'gone.txt'), 'sent')
    await writeFile(join(local, 'kept.txt'), 'sent')
    await writeFile(join(local, 'out.log'), 'mine')
    expect((await vm0(['run', 'mend', '-w', '.'], { cwd: local })).status).toBe(0)
    await appendFile(join(local, 'kept.txt'), ' and changed here')

    const first = await vm0(['pull'], { cwd: folder })
    expect(first.status).toBe(0)
    expect(first.stdout.split('\n').toSorted()).toEqual(
      [
        '',
        '  + made.txt',
        '  ~ src/clock.txt',
        '  deleted in the session, still here: gone.txt (--delete removes it if you did not change it)',
        '  deleted in the session, still here: kept.txt (--delete removes it if you did not change it)',
        '  left out: outside: it is a link that leads out of the folder, to /etc/passwd',
        `✓ 2 files into ${local}`,
      ].toSorted(),
    )
    expect((await readdir(local)).toSorted()).toEqual([
      '.gitignore',
      'gone.txt',
      'kept.txt',
      'made.txt',
      'out.log',
      'src',
    ])
    expect(await readFile(join(local, 'src', 'clock.txt'), 'utf8')).toBe('one\n2\ntwo and a half\nthree\n')
    expect(await readFile(join(local, 'out.log'), 'utf8')).toBe('mine')

    // The next one knows what the first one brought: only one's own change is in the way.
    await vm0(['exec', '--', 'sh', '-c', 'echo more >>made.txt; echo more >>src/clock.txt'])
    await appendFile(join(local, 'src', 'clock.txt'), 'mine\n')
    const refused = await vm0(['pull'])
    expect([refused.status, refused.stdout]).toEqual([2, ''])
    expect(refused.stderr).toMatch(
      /^error FILE_CHANGED: .*: it would overwrite what is different here, src\/clock\.txt\n.*--force/,
    )
    expect(await readFile(join(local, 'made.txt'), 'utf8')).toBe('made\n')
    const forced = await vm0(['pull', '--force', '--delete', '--json'])
    expect(objects(forced).map(({ type, path }) => [type, path])).toEqual([
      ['changed', 'made.txt'],
      ['changed', 'src/clock.txt'],
      ['deleted', 'gone.txt'],
      ['kept', 'kept.txt'],
      ['skipped', 'outside'],
      ['pulled', undefined],
    ])
    expect(await readFile(join(local, 'src', 'clock.txt'), 'utf8')).toContain('three\nmore\n')
    expect((await readdir(local)).filter((name) => /^gone|vm0-pull/.test(name))).toEqual([])
  })

  test('goes to a folder of its own without one, and brings ignored files and .git when asked', async () => {
    const session = await platform.client.sessions.create()
    await session.exec(
      'echo "*.log" >.gitignore; echo x >a.log; mkdir .git; echo y >.git/config; mkdir -m 750 sub; echo z >sub/z',
    )
    expect((await vm0(['pull', session.id], { cwd: local })).status).toBe(0)
    const made = join(local, `vm0-${session.id.slice(-8)}`)
    expect((await readdir(made)).toSorted()).toEqual(['.gitignore', 'sub'])
    expect((await stat(join(made, 'sub'))).mode & 0o777).toBe(0o750)
    expect((await vm0(['pull', session.id, '-o', 'all', '--all'], { cwd: local })).status).toBe(0)
    expect((await readdir(join(local, 'all'))).toSorted()).toEqual(['.git', '.gitignore', 'a.log', 'sub'])
  })

  test('writes nothing through a link of the local folder', async () => {
    const session = await platform.client.sessions.create()
    await session.exec('mkdir sub; echo new >sub/a; echo new >b')
    await mkdir(join(local, 'elsewhere'))
    await writeFile(join(local, 'elsewhere', 'a'), 'untouched')
    await mkdir(join(local, 'target'))
    await symlink('../elsewhere', join(local, 'target', 'sub'))
    const args = ['pull', session.id, '-o', join(local, 'target')]
    expect((await vm0(args)).stderr).toContain('different here, sub\n')
    expect((await vm0([...args, '--force'])).status).toBe(0)
    expect(await readFile(join(local, 'target', 'sub', 'a'), 'utf8')).toBe('new\n')
    expect(await readFile(join(local, 'elsewhere', 'a'), 'utf8')).toBe('untouched')
  })
})

describe('push', () => {
  test("brings one's own changes, and never overwrites the agent's unasked", async () => {
    await mkdir(join(local, 'src'))
    await writeFile(join(local, '.gitignore'), '*.log\n')
    await writeFile(join(local, 'src', 'clock.txt'), 'one\ntwo\nthree\n')
    for (const name of ['gone.txt', 'kept.txt', 'own.txt', 'out.log']) await writeFile(join(local, name), 'sent')
    expect((await vm0(['run', 'mend', '-w', '.'], { cwd: local })).status).toBe(0)

    await appendFile(join(local, 'own.txt'), ' and changed here')
    await mkdir(join(local, 'new'))
    await writeFile(join(local, 'new', 'file.sh'), '#!/bin/sh\n', { mode: 0o755 })
    const first = await vm0(['push'], { cwd: folder })
    expect(first.status).toBe(0)
    expect(first.stdout.split('\n').slice(0, -2).toSorted()).toEqual(
      [
        '  + new/file.sh',
        '  ~ own.txt',
        '  changed in the session, not here: gone.txt (vm0 pull brings it)',
        '  changed in the session, not here: kept.txt (vm0 pull brings it)',
        '  changed in the session, not here: src/clock.txt (vm0 pull brings it)',
      ].toSorted(),
    )
    expect(first.stdout).toMatch(/✓ 2 files into session [0-9a-f]{8} \(31 B, \d+ B were there\)\n$/)
    const seen = await vm0([
      'exec',
      '--',
      'sh',
      '-c',
      'cat own.txt; stat -c %a new/file.sh; cat out.log; ls .git/hooks',
    ])
    expect(seen.stdout).toBe('sent and changed here755\nignored\npre-commit\n')

    await appendFile(join(local, 'src', 'clock.txt'), 'mine\n')
    await rm(join(local, 'own.txt'))
    const refused = await vm0(['push'])
    expect([refused.status, refused.stdout]).toEqual([2, ''])
    expect(refused.stderr).toMatch(/^error FILE_CHANGED: .*different in the session, src\/clock\.txt\n.*--force/)
    const forced = await vm0(['push', '--force', '--delete', '--json'])
    const told = objects(forced).map(({ type, path }) => `${type} ${path ?? ''}`)
    expect(told.toSorted()).toEqual(
      ['added gone.txt', 'added kept.txt', 'changed src/clock.txt', 'deleted own.txt', 'pushed '].toSorted(),
    )
    const ended = await vm0(['exec', '--', 'sh', '-c', 'tail -1 src/clock.txt; ls *.txt'])
    expect(ended.stdout).toBe('mine\ngone.txt\nkept.txt\nmade.txt\n')
    const again = await vm0(['push', '--json'])
    expect(objects(again).map(({ type }) => type)).toEqual(['pushed'])
  })

  test('asks for a folder where none is known; one that was pulled is known', async () => {
    const session = await platform.client.sessions.create()
    await session.exec('echo x >a')
    const refused = await vm0(['push', session.id], { cwd: local })
    expect([refused.status, refused.stderr.split('\n')[1]]).toEqual([2, 'Name it: `vm0 push -w DIR`.'])
    expect((await vm0(['push', session.id, '-w', 'nothing'], { cwd: local })).stderr).toContain('WORKSPACE_INVALID')
    expect((await vm0(['pull', session.id], { cwd: local })).status).toBe(0)
    await writeFile(join(local, `vm0-${session.id.slice(-8)}`, 'a'), 'mine')
    const pushed = await vm0(['push', session.id], { terminal: true })
    expect(pushed.stdout).toMatch(/1\/1 files|~/)
    expect(await session.files.readText('/workspace/a')).toBe('mine')
  })
})

describe('doctor', () => {
  test('finds this machine fit and its server reachable', async () => {
    const result = await vm0(['doctor', '--json'], { env: { ANTHROPIC_API_KEY: 'x' } })
    const checks = objects(result)
    expect(checks.filter(({ status }) => status === 'problem')).toEqual([])
    expect(result.status).toBe(0)
    for (const name of [
      'kernel',
      'root',
      'cgroup',
      'runtime',
      'programs',
      'namespaces',
      'seccomp',
      'disk-data',
      'template',
      'agent',
      'model',
      'server',
      'key',
    ])
      expect(checks.find((check) => check.name === name)).toMatchObject({ status: 'ok' })
    expect(checks.find(({ name }) => name === 'server')?.found).toContain(platform.url)
    expect((await vm0(['doctor'])).stdout).toMatch(/^ok {7}kernel {8}Linux \d/)
  })

  test('needs no server, and says how to mend what is wrong', async () => {
    const env = {
      VM0_API_URL: 'http://127.0.0.1:9',
      VM0_API_KEY: 'x',
      PATH: join(local, 'no-programs'),
      ANTHROPIC_API_KEY: '',
    }
    const result = await vm0(['doctor', '--json', '--data', local], { env })
    expect(result.status).toBe(1)
    const wrong = objects(result).filter(({ status }) => status !== 'ok')
    expect(wrong.map(({ name }) => name as string)).toEqual(
      expect.arrayContaining(['runtime', 'programs', 'model', 'server']),
    )
    for (const { fix } of wrong) expect(fix).toMatch(/\w/)
    expect((await vm0(['doctor'], { env })).stdout).toMatch(/problem {2}runtime +crun .*\n +→ apt-get install crun\n/)
  })

  test('checks what a client needs where the platform is not installed', async () => {
    const modules = join(local, 'node_modules')
    const root = join(import.meta.dirname, '..')
    await mkdir(join(modules, '@vm0'), { recursive: true })
    for (const name of ['@vm0/contract', '@stricli', 'eventsource-parser', 'ignore', 'modern-tar', 'uuidv7'])
      await symlink(join(root, 'node_modules', name), join(modules, name))
    for (const part of ['dist', 'package.json'])
      await cp(join(root, 'packages/vm0', part), join(modules, 'vm0', part), { recursive: true })
    const run = (...args: string[]) =>
      promisify(execFile)(process.execPath, [join(modules, 'vm0/dist/cli/main.js'), ...args], {
        env: { ...process.env, VM0_CONFIG: join(platform.directory, 'config.json') },
      })
    const { stdout } = await run('doctor')
    expect(stdout).toMatch(
      /^ok +node [^]*\nwarning +platform .*\n.*npm i @vm0\/platform.*\n[^]*ok +server .*\nok +key /m,
    )
    await expect(run('up')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('PLATFORM_MISSING') as string,
    })
  })
})
