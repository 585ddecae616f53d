import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { CheckpointDiff } from '@vm0/contract'
import type { Session } from '../packages/vm0/src/index.js'
import { command, objects } from './support/command.js'
import { TestPlatform } from './support/platform.js'

const exec = promisify(execFile)
const bash = (line: string) => ({ tools: [{ name: 'Bash', input: { command: line, description: 'Work' } }] })
const script = {
  name: 'diff',
  conversations: [
    {
      when: '^begin',
      steps: [
        bash(
          String.raw`mkdir -p src old/deep && seq 1 30 >src/numbers && printf 'one\r\ntwo\r\n' >dos.txt && echo gone >old/deep/file`,
        ),
        bash(String.raw`printf 'a\0b' >picture && ln -s src link && echo '#!/bin/sh' >tool && echo same >same`),
        { text: 'begun' },
      ],
    },
    {
      when: '^change',
      steps: [
        bash(String.raw`sed -i 's/^7$/seven/; /^21$/d' src/numbers && printf 'one\r\n2\r\n' >dos.txt && rm -r old`),
        bash(String.raw`printf 'a\0c' >picture && ln -sfn dos.txt link && chmod +x tool && touch same`),
        bash(
          String.raw`printf 'tail' >'src/with space é' && printf '\033]0;pwned\007\033[2J\n' >evil && echo x >"$(printf 'na\033[31mme')"`,
        ),
        { text: 'changed' },
      ],
    },
    { when: '^other', steps: [bash('echo other >src/other'), { text: 'done' }] },
    { when: '^rest', steps: [{ text: 'rested' }] },
  ],
}

let platform: TestPlatform
let session: Session
let folder: string
beforeAll(async () => {
  platform = await TestPlatform.start([script])
  folder = await mkdtemp(join(tmpdir(), 'vm0-diff-'))
  session = (await platform.client.run({ prompt: 'begin' })).session
  await mkdir(join(folder, 'before'))
  await session.files.download('/workspace', join(folder, 'before'))
  await session.run('change')
  await session.files.download('/workspace', join(folder, 'after'))
})
afterAll(async () => {
  await platform?.stop()
  await rm(folder, { recursive: true, force: true })
})

const vm0 = (...args: string[]) => command(platform, args)
const changed = ['dos.txt', 'evil', 'link', 'old/deep/file', 'picture', 'src/numbers', 'src/with space é', 'tool']
const shownName = String.raw`"na\033[31mme"`

test('shows what the last run changed, whatever was saved within it, and says that more changed elsewhere', async () => {
  const names = await vm0('diff', '--name-only')
  expect(names.status).toBe(0)
  expect(names.stdout.trimEnd().split('\n').toSorted()).toEqual([...changed, shownName].toSorted())
  expect(names.stderr).toMatch(/^\d+ files changed elsewhere: --all shows\n$/)
  const all = await vm0('diff', '--name-only', '--all')
  expect(all.stdout).toMatch(/^\/root\/\.claude.*\.jsonl$/m)
  const stat = await vm0('diff', '--stat', session.id.slice(-8))
  expect(stat.stdout).toMatch(/^ src\/numbers +\| 3 \+--$/m)
  expect(stat.stdout).toMatch(/^ picture +\| Bin 3 -> 3 bytes$/m)
  expect(stat.stdout).toMatch(/^ tool +\| mode 644 -> 755$/m)
  expect(stat.stdout.trimEnd().split('\n').at(-1)).toMatch(
    /^ 9 files changed, \d+ insertions\(\+\), \d+ deletions\(-\)$/,
  )
})

test('in a pipe it is a patch that git applies, byte for byte', async () => {
  const copy = join(folder, 'patched')
  await exec('cp', ['-a', join(folder, 'before'), copy])
  const { stdout } = await vm0('diff')
  expect(stdout).toContain('Binary files a/picture and b/picture differ')
  const text = stdout.replace(/diff --git a\/picture b\/picture\n.*\n/, '')
  const child = execFile('git', ['apply', '-v', '-'], { cwd: copy })
  child.stdin!.end(text)
  const [status] = await new Promise<[number | null]>((resolve) => child.once('close', (code) => resolve([code])))
  expect(status).toBe(0)
  await exec('cp', [join(folder, 'after/picture'), join(copy, 'picture')])
  await exec('diff', ['-r', '--no-dereference', copy, join(folder, 'after')])
  expect(await readFile(join(copy, 'dos.txt'), 'utf8')).toBe('one\r\n2\r\n')
  expect(await readdir(join(copy, 'src'))).toContain('with space é')
})

test('on a terminal it has colours, and nothing of a file does anything to the terminal', async () => {
  const { stdout } = await command(platform, ['diff'], { terminal: true })
  expect(stdout).toContain('\u001B[32m+seven\u001B[0m')
  expect(stdout).toContain('\u001B[31m-7\u001B[0m')
  expect(stdout).not.toContain('\u001B]0;')
  expect(stdout).not.toContain('\u001B[2J')
})

test('compares one path, any two checkpoints, and those of a fork', async () => {
  const one = await vm0('diff', 'src/numbers')
  expect(one.stdout.split('\n').slice(0, 4)).toEqual([
    'diff --git a/src/numbers b/src/numbers',
    '--- a/src/numbers',
    '+++ b/src/numbers',
    '@@ -4,7 +4,7 @@',
  ])
  expect(one.stderr).toBe('')
  const mine = await session.checkpoints.latest()
  const fork = await mine.fork()
  await fork.run('other')
  const theirs = await fork.checkpoints.latest()
  const told = async (from: string, to: string) =>
    objects(await vm0('diff', '--json', from.slice(7, 15), to.slice(7, 15))).map(
      ({ change, path }) => `${change} ${path}`,
    )
  expect(await told(mine.id, theirs.id)).toEqual(['added /workspace/src/other'])
  expect(await told(theirs.id, mine.id)).toEqual(['removed /workspace/src/other'])
  const { items, against, elsewhere } = await theirs.diff()
  expect(items.map(({ path }) => path)).toEqual(['/workspace/src/other'])
  expect(against).toBe(mine.id)
  expect(elsewhere).toBeGreaterThan(0)
  const first = (await session.checkpoints.list({ limit: 200 })).items.at(-1)!
  const whole = await first.diff(undefined, { patch: true })
  expect(whole.against).toBe(null)
  expect(whole.items.find(({ path }) => path === '/workspace/src/numbers')).toMatchObject({
    change: 'added',
    before: null,
  })
})

test('a run that changes nothing shows nothing; pages make one list', async () => {
  const { session: quiet } = await platform.client.run({ prompt: 'rest' })
  const result = await vm0('diff', quiet.id)
  expect([result.status, result.stdout]).toEqual([0, ''])
  const { id } = await session.checkpoints.latest()
  const paths: string[] = []
  let after = ''
  for (let page: CheckpointDiff | undefined; page?.next !== null; after = page.next ?? '') {
    const response = await platform.fetch(`/v1/checkpoints/${id}/diff?path=/&limit=3${after ? `&after=${after}` : ''}`)
    page = (await response.json()) as CheckpointDiff
    expect(page.items.length).toBeLessThanOrEqual(3)
    paths.push(...page.items.map(({ path }) => path))
    if (page.next === null) break
  }
  const { items } = await (await session.checkpoints.latest()).diff(undefined, { all: true })
  expect(paths).toEqual(items.map(({ path }) => path))
  expect(new Set(paths).size).toBe(paths.length)
})

test('another project has no such checkpoint; wrong questions are told as such', async () => {
  const { id } = await session.checkpoints.latest()
  const { client, key } = await platform.project('diff-other')
  await expect(client.checkpoints.get(id).diff()).rejects.toMatchObject({ code: 'CHECKPOINT_NOT_FOUND' })
  const own = (await client.run({ prompt: 'rest' })).checkpoint!
  const crossed = await platform.fetch(`/v1/checkpoints/${own}/diff?against=${id}`, { key })
  expect(crossed.status).toBe(404)
  for (const query of ['path=src', 'limit=0', 'after=%00', 'against=x', 'what=ever'])
    expect([query, (await platform.fetch(`/v1/checkpoints/${id}/diff?${query}`)).status]).toEqual([query, 400])
  const none = await platform.fetch(`/v1/checkpoints/${id}/diff?path=/workspace/../../etc/no-such`)
  expect(await none.json()).toMatchObject({ items: [], next: null })
  const many = await vm0('diff', 'a', 'b')
  expect([many.status, many.stderr.split(':')[0]]).toEqual([2, 'error INVALID_REQUEST'])
})
