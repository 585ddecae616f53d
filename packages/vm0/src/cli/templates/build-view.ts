import type { TemplateVersionView } from '@vm0/contract/client'
import type { TemplateProgress } from '../../templates.js'
import { byteCount, shortId } from '../format.js'
import { printable, printableLine } from '../printable.js'
import { bold, dim, green } from '../style.js'

/** Shows a build while it is at work: each step, and what it prints. */
export function showBuild(line: TemplateProgress): void {
  if (line.type === 'output') process.stdout.write(dim(printable(line.text)))
  else if (line.type === 'progress') process.stdout.write(`  ${line.message}\n`)
  else {
    const where = line.line === undefined ? '' : `:${line.line}`
    process.stdout.write(bold(`▸ ${line.index}/${line.count}${where} ${printableLine(line.text, 120)}\n`))
  }
}

/** What came of it, and what may be done with it. */
export function builtLines({ name, version, digest, sizeBytes, promoted }: TemplateVersionView): string {
  const means = promoted ? `${name} means it now` : `vm0 templates promote ${name}@${version}   ·   `
  return [
    `${green('✓')} ${name}@${version}   ${shortId(digest)}   ${byteCount(sizeBytes)}`,
    promoted
      ? `  ${means}   ·   vm0 run --template ${name} "…"`
      : `  ${means}vm0 run --template ${name}@${version} "…"`,
    '',
  ].join('\n')
}
