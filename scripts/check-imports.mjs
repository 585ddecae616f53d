// Fails when a package imports another one that the architecture doesn't let it know, or when a source file grows past
// what one wants to read.
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

const allowed = {
  contract: [],
  vm0: ['contract/client'],
  backends: ['contract'],
  process: [],
  sandbox: ['contract', 'process'],
  frameworks: ['contract'],
  gateway: ['contract'],
  testkit: ['contract'],
  checkpoints: ['contract', 'process', 'backends'],
  insight: ['contract'],
  server: ['contract', 'backends', 'insight'],
  runner: ['contract', 'backends', 'sandbox', 'checkpoints', 'frameworks', 'gateway'],
  platform: [
    'contract',
    'backends',
    'server',
    'runner',
    'sandbox',
    'checkpoints',
    'frameworks',
    'gateway',
    'insight',
    'testkit',
  ],
}
const maxLines = 350
const problems = []

for (const name of readdirSync('packages')) {
  if (!allowed[name]) problems.push(`packages/${name} is not in the import table`)
  for (const file of readdirSync(join('packages', name, 'src'), { recursive: true }).filter((path) =>
    path.endsWith('.ts'),
  )) {
    const path = join('packages', name, 'src', file)
    const text = readFileSync(path, 'utf8')
    if (text.split('\n').length > maxLines) problems.push(`${path} has more than ${maxLines} lines`)
    if (file.endsWith('.test.ts')) continue
    for (const [, imported] of text.matchAll(/from '@vm0\/([a-z]+(?:\/[a-z]+)?)'/g)) {
      if (imported !== name && !allowed[name]?.includes(imported)) problems.push(`${path} imports @vm0/${imported}`)
    }
  }
}

for (const problem of problems) console.error(problem)
process.exit(problems.length > 0 ? 1 : 0)
