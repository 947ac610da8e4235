// The figures: what the stream of events brings, as text and as charts.
import { Charts } from "./charts.js";
import * as show from "./format.js";

const FRAMES = 300; // as the server keeps
const MOVES = 256;
const AGAIN_MS = 5000;
const STAGES = [
  ["live", "Live items"],
  ["probed", "In probed clusters"],
  ["eligible", "Admitted by the filter"],
  ["candidates", "Candidates of the int8 search"],
  ["returned", "Kept by the Value Model"],
];

export function live() {
  let frames = []; // not Alpine's business: only the charts read them
  let charts = null;
  return {
    connected: false,
    trouble: "",
    state: null,
    moves: [],
    now: null,
    origin: location.origin,

    init() {
      charts = new Charts(this.$root);
      const stream = this.$refs.stream;
      stream.addEventListener("history", (event) => this.begin(JSON.parse(event.detail.data)));
      stream.addEventListener("frame", (event) => this.add(JSON.parse(event.detail.data)));
      stream.addEventListener("htmx:sse:error", () => this.lost("Connection lost; trying again."));
      stream.addEventListener("htmx:error", () => this.again("The server cannot be reached; trying again."));
      stream.addEventListener("htmx:response:error", (event) => this.refused(event.detail.ctx));
      document.addEventListener("silverjax:key", () => this.connect());
    },

    connect() {
      this.$refs.stream.dispatchEvent(new Event("connect"));
    },

    begin(history) {
      frames = history.frames;
      this.moves = history.moves;
      this.show(history.state);
    },

    add({ frame, state, moves }) {
      frames = [...frames, frame].slice(-FRAMES);
      // A move may be both in the history and in the first frame after it.
      const last = this.moves.at(-1)?.at ?? 0;
      const fresh = moves.filter((move) => move.at > last);
      if (fresh.length) this.moves = [...this.moves, ...fresh].slice(-MOVES);
      this.show(state);
    },

    show(state) {
      this.connected = true;
      this.trouble = "";
      this.state = state;
      this.now = frames.at(-1) ?? null;
      charts.draw(frames, state);
    },

    lost(why) {
      this.connected = false;
      this.trouble = why;
    },

    again(why) {
      this.lost(why);
      setTimeout(() => this.connect(), AGAIN_MS);
    },

    refused({ response, text }) {
      if (response.status === 401 || response.status === 403) {
        this.$store.access.wanted = true;
        this.lost("These figures need an API key with the right “metrics”.");
      } else {
        this.again(show.error(text));
      }
    },

    get status() {
      if (!this.state) return this.trouble || "Connecting";
      if (!this.connected) return this.trouble;
      if (this.state.degraded) return "Degraded";
      return this.state.ready ? "Serving" : "Not ready";
    },
    get version() {
      return this.state ? `snapshot ${this.state.snapshot_version}` : "";
    },
    get idle() {
      return this.state !== null && this.state.requests === 0;
    },
    get quiet() {
      return this.now !== null && !this.idle && this.now.p99_ms === null;
    },
    get qps() {
      return show.rate(this.now?.answered_per_s);
    },
    get refusedNow() {
      if (!this.now) return "";
      const { refused_per_s: refused, late_per_s: late } = this.now;
      return refused || late ? `${show.rate(refused + late)} refused or late` : "none refused";
    },
    get p50() {
      return show.ms(this.now?.p50_ms);
    },
    get p95() {
      return show.ms(this.now?.p95_ms);
    },
    get p99() {
      return show.ms(this.now?.p99_ms);
    },
    get over() {
      return this.hasTarget && this.now?.p99_ms > this.state.target_ms;
    },
    get hasTarget() {
      return Boolean(this.state?.target_ms);
    },
    get target() {
      if (!this.hasTarget) return this.state ? "no target" : "";
      return `${this.over ? "over the target of" : "target"} ${show.number(this.state.target_ms)} ms`;
    },
    get queue() {
      return show.number(this.now?.queue_rows);
    },
    get busy() {
      return this.now ? `device busy ${Math.round(100 * this.now.busy_share)} %` : "";
    },
    get limit() {
      return show.number(this.now?.batch_limit);
    },
    get filled() {
      if (!this.now) return "";
      const rows = this.now.rows_per_batch;
      return rows == null ? "no batches now" : `${rows.toFixed(1)} rows a batch`;
    },
    get climb() {
      return this.state?.climb ?? "";
    },
    get decisions() {
      return this.moves.toReversed().map((move) => ({
        key: move.at,
        time: show.clock(move.at),
        limit: move.batch_limit,
        reason: move.reason,
      }));
    },
    get funnel() {
      const counts = this.state?.funnel;
      if (!counts) return [];
      const most = Math.log1p(counts.live);
      return STAGES.map(([stage, name]) => ({
        name,
        count: show.number(counts[stage]),
        bar: { width: `${(100 * Math.log1p(counts[stage])) / most}%` },
      }));
    },
    get coverage() {
      const share = this.state?.coverage;
      return share == null ? "" : `${(100 * share).toFixed(1)} % of the live items were searched.`;
    },
    get loadCommand() {
      return `silverjax load ${this.origin} --rate 50`;
    },
  };
}
