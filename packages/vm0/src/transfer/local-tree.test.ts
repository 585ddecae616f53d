import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { walkFolder } from './local-tree.js'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'vm0-walk-'))
})
afterEach(() => rmSync(root, { recursive: true }))

const files = ['a.log', 'b.txt', 'src/a.log', 'src/b.txt', 'src/deep/a.log', 'src/deep/b.txt', 'log/b.txt', '-c']
const pattern = fc.constantFrom(
  '*.log',
  '!*.log',
  'src',
  '/src/',
  'deep/',
  '!deep/',
  'b.txt',
  '!b.txt',
  '/b.txt',
  '**/a.log',
  '# x',
  '-c',
)
const rules = fc.dictionary(fc.constantFrom('.gitignore', 'src/.gitignore', 'src/deep/.gitignore'), fc.array(pattern))

async function walked(): Promise<string[]> {
  const names: string[] = []
  await walkFolder(root, { gitignore: true }, ({ name, info }) => {
    if (info.kind === 'file') names.push(name)
  })
  return names.toSorted()
}

function write(tree: Record<string, string>): void {
  for (const [name, text] of Object.entries(tree)) {
    mkdirSync(dirname(join(root, name)), { recursive: true })
    writeFileSync(join(root, name), text)
  }
}

test('leaves out what git leaves out', async () => {
  execFileSync('git', ['init', '-q', root])
  const property = fc.asyncProperty(rules, async (given) => {
    execFileSync('find', [root, '-mindepth', '1', '-not', '-path', `${root}/.git*`, '-delete'])
    rmSync(join(root, '.gitignore'), { force: true })
    write(Object.fromEntries(files.map((name) => [name, 'x'])))
    write(Object.fromEntries(Object.entries(given).map(([name, lines]) => [name, `${lines.join('\n')}\n`])))
    const listed = execFileSync('git', ['ls-files', '-z', '-o', '--exclude-standard'], { cwd: root, encoding: 'utf8' })
    const names = (await walked()).filter((name) => !name.startsWith('.git/'))
    expect(names).toEqual(listed.split('\0').filter(Boolean).toSorted())
  })
  await fc.assert(property, { numRuns: Number(process.env.VM0_PROPERTY_RUNS ?? 100) })
})

test('.vm0ignore has the last word', async () => {
  write({
    '.gitignore': '*.log\nsecret\n',
    '.vm0ignore': '!a.log\nb.txt\n',
    'a.log': '',
    'c.log': '',
    'b.txt': '',
    secret: '',
  })
  expect(await walked()).toEqual(['.gitignore', '.vm0ignore', 'a.log'])
})
