import type { Denial } from '../record/run-record.js'
import { plural, quoted, type Detector } from './finding.js'

const maxEvidence = 6

/** Refused again and again by the same rule. */
export const deniedTools: Detector = ({ denials }, limits) => {
  const byTool = new Map<string, Denial[]>()
  for (const denial of denials) byTool.set(denial.tool, [...(byTool.get(denial.tool) ?? []), denial])
  return [...byTool].flatMap(([tool, denied]) => {
    if (denied.length < limits.denials) return []
    const titles = [...new Set(denied.map(({ title }) => title).filter(Boolean))].slice(0, 3)
    const program = /^\S+/.exec(titles[0] ?? '')?.[0]
    const rule = tool === 'Bash' && program !== undefined ? `Bash(${program} *)` : tool
    return [
      {
        kind: 'perm.denied',
        severity: 'warning' as const,
        text: `${tool} was denied ${plural(denied.length, 'time')}${titles.length > 0 ? `: ${titles.map(quoted).join(', ')}` : ''}`,
        evidence: denied
          .slice(0, maxEvidence)
          .map(({ cursor, message }) => ({ text: `denied: ${message.slice(0, 120)}`, cursor })),
        adjust: {
          where: 'permissions' as const,
          text: `tools: { allow: [..., ${JSON.stringify(rule)}] }, or tell in CLAUDE.md what to use instead: "- Do not use ${rule}; use <put it here>."`,
        },
      },
    ]
  })
}
