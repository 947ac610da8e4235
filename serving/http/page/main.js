// Starts the page: htmx talks to the server, Alpine shows, uPlot draws.
// In one module, so that Alpine listens before htmx makes its first request.
import "./htmx.esm.min.js";
import "./hx-sse.min.js";
import Alpine from "./alpine-csp.esm.min.js";
import { access } from "./access.js";
import { live } from "./live.js";
import { playground } from "./playground.js";

Alpine.store("access", access);
Alpine.data("live", live);
Alpine.data("playground", playground);
Alpine.start();
