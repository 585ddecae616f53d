import { byteWords, type RunView, type Span, type Trace, type Why } from '@vm0/contract'
import { adjustWords } from '../detect/finding.js'
import { dollars, lasting, tokenCount } from '../story/words.js'
import { names } from '../trace/names.js'
import type { CallTexts } from './call-texts.js'
import { escaped } from './escape.js'
import { style } from './style.js'

export interface RunPage {
  run: RunView
  trace: Trace
  why: Why
  texts: CallTexts
}

const maxSpans = 5_000
const memoryColumns = 120

/**
 * A run as one page that needs nothing else: no script, no address that is fetched, so that it can be sent to somebody. All
 * that agents and programs wrote is text in it.
 */
export function htmlOf({ run, trace, why, texts }: RunPage): string {
  const shown = trace.spans.slice(0, maxSpans)
  const left = trace.spans.length - shown.length
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<meta name="referrer" content="no-referrer"><meta name="viewport" content="width=device-width">
<title>Run ${escaped(run.id.slice(-8))}</title><style>${style}</style></head><body>
${verdict(run, why)}
${numbers(run, trace)}
<p class="story">${escaped(why.story.paragraph)}</p>
${listed('What to do', ownSteps(why))}
${whyEvidence(why)}
${findings(why)}
${steps(why)}
<h2>Time</h2><div class="trace">${shown.map((span) => row(span, depthsOf(trace).get(span.id) ?? 0, trace, texts)).join('\n')}
${memoryRow(trace)}</div>
${left > 0 ? `<p class="dim">${left} more spans are left out.</p>` : ''}${texts.full ? '<p class="dim">Inputs and outputs of later calls are left out.</p>' : ''}
<footer class="dim">run ${escaped(run.id)} · session ${escaped(run.sessionId)} · trace ${escaped(trace.traceId)} · ${escaped(run.createdAt)}</footer>
</body></html>
`
}

function verdict({ state, reason }: RunView, { cause, certainty, culprit }: Why): string {
  const good = state === 'succeeded'
  const what = [state, reason === state ? null : reason].filter(Boolean).join(': ').replaceAll('_', ' ')
  const sure = good || certainty === 'known' ? '' : ` <span class="dim">(${certainty})</span>`
  const work = culprit ? `<p>At work: ${escaped(culprit.text)}</p>${output(culprit.lastOutput.join('\n'))}` : ''
  return `<header class="${good ? 'good' : 'bad'}"><h1>${good ? '✓' : '✗'} ${escaped(what)}</h1>${good ? '' : `<p>${escaped(cause)}${sure}</p>`}${work}</header>`
}

function numbers({ usage, costUsd, framework, agentVersion, timings }: RunView, trace: Trace): string {
  const input = usage.inputTokens + usage.cacheReadTokens + usage.cacheWriteTokens
  const facts: [string, string][] = [
    ['time', lasting(timings.totalMs ?? trace.durationMs)],
    ['cost', dollars(costUsd)],
    ['tokens', `${tokenCount(input)} in, ${tokenCount(usage.outputTokens)} out`],
    ['tool calls', String(trace.spans.filter(({ kind }) => kind === 'tool').length)],
    ['agent', `${framework} ${agentVersion ?? ''}`],
  ]
  return `<dl>${facts.map(([name, value]) => `<div><dt>${name}</dt><dd>${escaped(value)}</dd></div>`).join('')}</dl>`
}

function whyEvidence({ evidence }: Why): string {
  return listed(
    'What shows it',
    evidence.map(({ text }) => text),
  )
}

function findings({ findings: all }: Why): string {
  if (all.length === 0) return ''
  const items = all.map(
    ({ text, adjust }) => `<li>${escaped(text)}<br><span class="dim">${escaped(adjustWords(adjust))}</span></li>`,
  )
  return `<h2>Worth changing</h2><ul>${items.join('')}</ul>`
}

/** Without what stands below the findings. */
function ownSteps({ next, findings }: Why): string[] {
  return next.filter((text) => !findings.some(({ adjust }) => text === adjustWords(adjust)))
}

function steps({ story }: Why): string {
  if (story.steps.length === 0) return ''
  const items = story.steps.map(
    ({ text, durationMs }) =>
      `<li>${escaped(text)} <span class="dim">${durationMs > 0 ? lasting(durationMs) : ''}</span></li>`,
  )
  return `<h2>Story</h2><ol>${items.join('')}</ol>`
}

function listed(title: string, items: readonly string[]): string {
  if (items.length === 0) return ''
  return `<h2>${title}</h2><ul>${items.map((item) => `<li>${escaped(item)}</li>`).join('')}</ul>`
}

const depthMaps = new WeakMap<Trace, Map<string, number>>()

function depthsOf(trace: Trace): Map<string, number> {
  const known = depthMaps.get(trace)
  if (known) return known
  const depths = new Map<string, number>()
  // Parents come before their children.
  for (const { id, parentId } of trace.spans)
    depths.set(id, parentId === null ? 0 : Math.min(12, (depths.get(parentId) ?? 0) + 1))
  depthMaps.set(trace, depths)
  return depths
}

function row(span: Span, depth: number, trace: Trace, texts: CallTexts): string {
  const total = Math.max(1, trace.durationMs)
  const endMs = span.durationMs === null ? total : span.startMs + span.durationMs
  const percent = (ms: number): string => ((Math.min(total, Math.max(0, ms)) / total) * 100).toFixed(2)
  const width = percent(endMs - span.startMs)
  const bar = `<span class="axis"><i class="${span.kind} ${span.status}" style="margin-left:${percent(span.startMs)}%;width:max(2px,${width}%)"></i></span>`
  const peak = span.kind === 'process' ? span.attributes[names.peakMemory] : undefined
  const lasted = span.durationMs === null ? 'no end' : lasting(span.durationMs)
  const how = typeof peak === 'number' ? `${lasted} · ${byteWords(peak)}` : lasted
  const line = `<span class="name" style="padding-left:${depth}em">${escaped(nameOf(span).slice(0, 300))}</span>${bar}<span class="took">${how}${wrong(span)}</span>`
  const call = texts.of(String(span.attributes[names.toolCall] ?? ''))
  if (span.kind !== 'tool' || !call) return `<div class="row">${line}</div>`
  const cut = call.cut > 0 ? `<p class="dim">${call.cut} characters in the middle are left out.</p>` : ''
  const said = call.output === undefined ? '<p class="dim">It did not end.</p>' : output(call.output)
  return `<details><summary class="row">${line}</summary>${output(call.input)}${said}${cut}</details>`
}

/** On the axis of the spans; the highest is the most that was in use. */
function memoryRow({ memory, durationMs }: Trace): string {
  if (!memory) return ''
  const total = Math.max(1, durationMs)
  const heights: number[] = Array.from({ length: memoryColumns }, () => 0)
  let before = -1
  for (const { atMs, bytes } of memory.points) {
    const column = Math.min(memoryColumns - 1, Math.floor((atMs / total) * memoryColumns))
    if (before >= 0) heights.fill(heights[before] ?? 0, before + 1, column)
    heights[column] = Math.max(heights[column] ?? 0, (bytes / Math.max(1, memory.peakBytes)) * 100)
    before = column
  }
  const bars = heights.map((height) => `<i style="height:${height.toFixed(1)}%"></i>`).join('')
  const of = memory.limitBytes > 0 ? ` of ${byteWords(memory.limitBytes)}` : ''
  return `<div class="row"><span class="name">memory, peak ${byteWords(memory.peakBytes)}${of}</span><span class="memory">${bars}</span></div>`
}

const output = (text: string): string => (text.trim() === '' ? '' : `<pre>${escaped(text)}</pre>`)

function wrong({ status, attributes }: Span): string {
  if (status !== 'error') return ''
  const exit = attributes[names.exitCode]
  return ` <b>✗ ${escaped(exit === undefined ? String(attributes[names.errorType] ?? 'failed') : `exit ${exit}`)}</b>`
}

function nameOf({ kind, name, attributes }: Span): string {
  const title = String(attributes[names.title] ?? '')
  if (kind === 'tool') return `${String(attributes[names.tool] ?? '')} ${title}`.trim()
  if (kind === 'process') return String(attributes[names.commandLine] ?? name)
  if (kind === 'subagent') return `sub-agent ${title}`
  if (kind === 'model') return String(attributes[names.model] ?? name)
  if (kind === 'turn') return `turn ${String(attributes[names.turn] ?? '')}`
  if (kind === 'run' || kind === 'queue' || kind === 'checkpoint') return kind
  if (kind === 'start') return `start ${String(attributes[names.startKind] ?? '')}`.trim()
  return name
}
