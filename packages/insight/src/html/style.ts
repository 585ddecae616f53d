/** One look for light and dark. Colours of bars are by kind; a failed one is red, one without an end is striped. */
export const style = `
:root{color-scheme:light dark;--dim:#777;--line:#8883;--bar:#6a8caf}
body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:0 auto;padding:1.5rem}
h1{font-size:1.3rem;margin:0}h2{font-size:1rem;margin:1.5rem 0 .3rem}
header{border-left:6px solid;padding:.6rem 1rem;background:#8881}
header.good{border-color:#2a9d5c}header.bad{border-color:#d1495b}header p{margin:.3rem 0 0}
dl{display:flex;flex-wrap:wrap;gap:.5rem 2rem;margin:1rem 0}dt{color:var(--dim);font-size:.8rem}dd{margin:0;font-weight:600}
ul,ol{margin:.3rem 0;padding-left:1.4rem}.dim{color:var(--dim)}
.row{display:grid;grid-template-columns:minmax(0,5fr) minmax(0,5fr) 12rem;gap:.6rem;border-bottom:1px solid var(--line);align-items:center}
summary.row{cursor:pointer;list-style:none}summary.row .name::before{content:'▸ ';color:var(--dim)}details[open] summary .name::before{content:'▾ '}
.name{overflow:hidden;text-overflow:ellipsis;white-space:nowrap;font-family:ui-monospace,monospace;font-size:.85rem}
.took{font-size:.8rem;color:var(--dim);white-space:nowrap}.took b{color:#d1495b}
.axis{display:block;height:.8rem}.axis i{display:block;height:100%;background:var(--bar);border-radius:2px;box-sizing:border-box}
.axis .model{background:#8e7cc3}.axis .tool,.axis .process{background:#3d9970}.axis .checkpoint{background:#999}.axis .queue,.axis .start{background:#c9a227}
.axis .error{background:#d1495b}.axis .open{background:repeating-linear-gradient(45deg,#d9822b,#d9822b 4px,transparent 4px,transparent 8px)}
.memory{display:flex;height:3rem;align-items:flex-end}.memory i{flex:1;background:#6a8caf}
pre{background:#8881;padding:.6rem;margin:.3rem 0;overflow:auto;max-height:30rem;white-space:pre-wrap;overflow-wrap:anywhere;font-size:.8rem}
footer{margin-top:2rem;font-size:.8rem;overflow-wrap:anywhere}
@media print{details>*{display:block}}
`
