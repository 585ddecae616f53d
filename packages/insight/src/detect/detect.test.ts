import fc from 'fast-check'
import { expect, test } from 'vitest'
import { findingSchema, type Finding } from '@vm0/contract'
import { recordOf } from '../record/run-record.js'
import { RunLog } from '../run-log.test.fixture.js'
import { findingsOf } from './detect.js'

function findings(log: RunLog, thresholds = {}): Finding[] {
  const found = findingsOf(recordOf(log.events), thresholds)
  const cursors = new Set(log.events.map(({ cursor }) => cursor))
  for (const finding of found) {
    findingSchema.parse(finding)
    expect(finding.evidence.length).toBeGreaterThan(0)
    for (const { cursor } of finding.evidence) expect(cursors).toContain(cursor)
    expect(finding.adjust.text).not.toBe('')
  }
  return found
}
const kinds = (log: RunLog, thresholds = {}): string[] => findings(log, thresholds).map(({ kind }) => kind)
const times = (count: number, log: RunLog, each: (log: RunLog, index: number) => unknown): RunLog => {
  for (let index = 0; index < count; index++) each(log, index)
  return log
}
const begun = (): RunLog => new RunLog().begin()
const edit = (log: RunLog, from: string, to: string, path = '/workspace/a.ts'): RunLog =>
  log.call('Edit', { file_path: path, old_string: from, new_string: to }, 'updated')

test('the same command that fails three times with nothing changed between is told, with what to write down', () => {
  const log = times(3, begun(), (run, index) =>
    run.bash('npm  test', `12:00:0${index} failed in ${index} ms\nno such script`, 1),
  )
  const [finding] = findings(log)
  expect(finding).toMatchObject({
    kind: 'cmd.repeat_fail',
    text: '`npm test` failed 3 times with no file changed between',
  })
  expect(finding!.adjust).toEqual({
    where: 'CLAUDE.md',
    text: '- `npm test` failed with exit 1 here (no such script). Do not run it again before something is changed; the command that works is: <put it here>',
  })
  expect(finding!.evidence).toHaveLength(3)
})

test('a test that fails while the code is being mended is no repeated failure', () => {
  const log = begun()
  for (let round = 0; round < 6; round++) edit(log.bash('npm test', 'failed', 1), `${round}`, `${round + 1}`)
  expect(kinds(log)).toEqual([])
})

test('a call with the same result three times in a row is a loop; with another result each time it is none', () => {
  expect(kinds(times(3, begun(), (log) => log.call('Grep', { pattern: 'x' }, 'a.ts:1')))).toEqual(['loop.exact'])
  expect(kinds(times(9, begun(), (log, index) => log.call('Grep', { pattern: 'x' }, `a.ts:${index}`)))).toEqual([])
  expect(kinds(times(2, begun(), (log) => log.call('Grep', { pattern: 'x' }, 'a.ts:1')))).toEqual([])
  expect(
    kinds(
      times(2, begun(), (log) => log.call('Grep', { pattern: 'x' }, 'a')),
      { exactRepeats: 2 },
    ),
  ).toEqual(['loop.exact'])
})

test('a circle of calls is one finding', () => {
  const log = times(4, begun(), (run) =>
    run.call('Grep', { pattern: 'x' }, 'one').call('Grep', { pattern: 'y' }, 'two'),
  )
  expect(kinds(log)).toEqual(['loop.cycle'])
})

test('one tool that gives the same whatever it is asked is told', () => {
  const log = times(6, begun(), (run, index) => run.call('Grep', { pattern: `p${index}` }, 'No matches found'))
  expect(kinds(log)).toEqual(['loop.stagnation'])
})

test('fifteen minutes of waiting for something are no loop, whether the command says so or not', () => {
  const bySleep = times(60, begun(), (log) => log.bash('sleep 15; gh run view 7', 'in progress', 0, 15_000))
  expect(kinds(bySleep)).toEqual([])
  const byPauses = times(30, begun(), (log) =>
    log.add({ type: 'status', state: 'requesting' }, 30_000).bash('gh run view 7', 'in progress'),
  )
  expect(kinds(byPauses)).toEqual([])
})

test('an edit that takes an earlier one back is thrash; many edits that go on are none', () => {
  const thrash = edit(edit(edit(begun(), 'a', 'b'), 'b', 'a'), 'a', 'b')
  expect(kinds(thrash)).toEqual(['edit.thrash'])
  expect(kinds(times(9, begun(), (log, index) => edit(log, `${index}`, `${index + 1}`)))).toEqual([])
  expect(kinds(edit(edit(begun(), 'a', 'b'), 'b', 'a'))).toEqual([])
})

test('a file that is read again and again is told, unless it was changed or dropped meanwhile', () => {
  const read = (log: RunLog, index: number): RunLog =>
    log.call('Read', { file_path: '/workspace/a.ts' }, 'text').bash(`echo ${index}`, `${index}`)
  expect(kinds(times(4, begun(), read))).toEqual(['read.again'])
  expect(kinds(times(4, begun(), (log, index) => edit(read(log, index), `${index}`, `${index + 1}`)))).toEqual([])
})

test('what is read again after a compaction was lost by it', () => {
  const read = (log: RunLog, file: string): RunLog => log.call('Read', { file_path: `/workspace/${file}` }, file)
  const log = times(4, begun(), (run, index) => read(run, `${index}.ts`))
  log.add({ type: 'compaction', phase: 'finished', preTokens: 160_000, postTokens: 12_000 })
  times(3, log, (run, index) => read(run, `${index}.ts`))
  const [finding] = findings(log)
  expect(finding).toMatchObject({ kind: 'context.compaction_loss' })
  expect(finding!.text).toContain('(160k to 12k tokens) dropped what was needed: 3 of 3 reads')
})

test('denials of one tool are told with the rule that would allow it', () => {
  const deny = (log: RunLog): RunLog => {
    const toolId = log.started('Bash', { command: 'git push' })
    const denial = { type: 'permission.resolved' as const, toolId, name: 'Bash', decision: 'deny' as const }
    log.add({ ...denial, by: 'platform', message: 'no' }).add({ ...denial, by: 'agent', message: 'no' })
    return log.finished(toolId, 'Bash', 'Permission to use Bash has been denied', { ok: false })
  }
  expect(kinds(deny(begun()))).toEqual([])
  const [finding] = findings(deny(deny(begun())))
  expect(finding).toMatchObject({ kind: 'perm.denied', text: 'Bash was denied 2 times: `git push`' })
  expect(finding!.adjust.text).toContain('"Bash(git *)"')
})

test.each([
  ['bash: line 1: rg: command not found', 127, 'RUN apt-get update && apt-get install -y rg '],
  ['/bin/sh: 1: tree: not found', 127, 'apt-get install -y tree'],
  ["Traceback …\nModuleNotFoundError: No module named 'yaml.reader'", 1, 'RUN pip install yaml'],
  ["Error: Cannot find module '@scope/name/deep'", 1, 'npm install -g @scope/name '],
  ['a.c:1:10: fatal error: openssl/ssl.h: No such file or directory', 1, 'openssl/ssl.h'],
])('what is missing is told, with a line for the template: %s', (output, exitCode, line) => {
  const found = findings(begun().bash('build', output, exitCode))
  expect(found.map(({ kind }) => kind)).toEqual(['tool.missing'])
  expect(found[0]!.adjust).toMatchObject({ where: 'template', text: expect.stringContaining(line) })
})

test('a missing module that a command did without, or a file of the project, is nothing of the template', () => {
  expect(kinds(begun().bash('build', "ModuleNotFoundError: No module named 'yaml'"))).toEqual([])
  expect(kinds(begun().bash('node a', "Error: Cannot find module './b'", 1))).toEqual([])
  expect(kinds(begun().call('Read', { file_path: '/a' }, 'bash: line 1: rg: command not found'))).toEqual([])
})

test('a long test run, a flood of output, a command that was killed and a wrong folder are told', () => {
  expect(kinds(begun().bash('npm test', 'ok', 0, 130_000))).toEqual(['test.slow'])
  expect(kinds(begun().bash('npm run build', 'ok', 0, 130_000))).toEqual([])
  expect(kinds(begun().bash('cat log', 'x'.repeat(30_000)))).toEqual(['output.flood'])
  expect(kinds(begun().call('Read', { file_path: '/a' }, 'x'.repeat(30_000)))).toEqual([])
  expect(kinds(begun().bash('npm run build', 'Killed', 137))).toEqual(['cmd.killed'])
  const lost = begun().bash('make', 'make: *** No rule to make target', 2).bash('cd sub && make', 'done')
  expect(findings(lost)[0]).toMatchObject({ kind: 'cwd.wrong', adjust: { text: '- Run `make` in `sub`.' } })
})

test('a command that the agent gave up waiting for, and files that it only believed to be there, are told', () => {
  expect(kinds(begun().bash('npm run dev', 'Command timed out after 2m 0.0s', 143))).toEqual(['cmd.timeout'])
  const guess = (log: RunLog, index: number): RunLog =>
    log.call('Read', { file_path: `/workspace/${index}` }, 'File does not exist.', false)
  expect(kinds(times(3, begun(), (log, index) => guess(log.bash('true', `${index}`), index)))).toEqual(['path.guessed'])
  expect(kinds(times(2, begun(), guess))).toEqual([])
})

test('a full disk is told, whatever the command made of it', () => {
  const output = 'head: error writing standard output: No space left on device\nstatus 1'
  expect(kinds(begun().bash('yes | head -c 2G > big; echo status $?', output))).toEqual(['disk.full'])
})

test('a full context, a cache that gives nothing and a request that costs too much are told', () => {
  expect(kinds(begun().model({ cacheReadTokens: 185_000 }))).toEqual(['context.pressure'])
  const uncached = times(5, begun(), (log) => log.model({ inputTokens: 20_000, cacheReadTokens: 100 }))
  expect(kinds(uncached)).toEqual(['cache.miss'])
  expect(kinds(times(5, begun(), (log) => log.model({ inputTokens: 100, cacheReadTokens: 20_000 })))).toEqual([])
  const spike = times(8, begun(), (log) => log.model()).model({}, { costUsd: 2 })
  expect(kinds(spike)).toEqual(['cost.spike'])
})

test('refusals of the model are told when they come close together', () => {
  expect(kinds(times(3, begun(), (log) => log.model({}, { httpStatus: 529 })))).toEqual(['api.retry_storm'])
  expect(kinds(times(2, begun(), (log) => log.model({}, { httpStatus: 529 })))).toEqual([])
})

test('an answer that claims checks which nobody ran is told', () => {
  const claim = 'Fixed. All tests pass now.'
  expect(kinds(edit(begun(), 'a', 'b').turnEnds(claim))).toEqual(['done.unverified'])
  expect(kinds(edit(begun(), 'a', 'b').bash('npm test', 'ok').turnEnds(claim))).toEqual([])
  expect(kinds(edit(begun(), 'a', 'b').turnEnds('Fixed.'))).toEqual([])
})

test("a sub-agent's calls don't interrupt its parent's, and are not mixed with them", () => {
  const log = begun()
  for (let round = 0; round < 3; round++) {
    log.call('Grep', { pattern: 'x' }, 'a')
    const inner = log.started('Grep', { pattern: `${round}` }, { parentToolId: 'task' })
    log.finished(inner, 'Grep', `${round}`, { parentToolId: 'task' })
  }
  expect(kinds(log)).toEqual(['loop.exact'])
})

test('work that goes on gives no finding, however long it is', () => {
  const step = fc.constantFrom('read', 'edit', 'test', 'search', 'model')
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 80 }), (steps) => {
      const log = begun()
      for (const [index, kind] of steps.entries()) {
        if (kind === 'read') log.call('Read', { file_path: `/workspace/${index}.ts` }, `text ${index}`)
        if (kind === 'edit') edit(log, `${index}`, `${index + 1}`)
        if (kind === 'test') edit(log.bash('npm test', `failed: case${index}`, 1), `t${index}`, `u${index}`)
        if (kind === 'search') log.call('Grep', { pattern: `p${index}` }, `found ${index}`)
        if (kind === 'model') log.model({ inputTokens: 50, cacheReadTokens: 30_000, cacheWriteTokens: 500 })
      }
      expect(kinds(log.turnEnds('done').end())).toEqual([])
    }),
  )
})
