/** Starts the page. */

import { render } from "preact";
import "maplibre-gl/dist/maplibre-gl.css";
import "./style/page.css";
import "./style/start.css";
import "./style/result.css";
import "./style/map.css";
import { App } from "./views/App";
import { startTheme } from "./theme";

startTheme();
render(<App />, document.getElementById("page")!);
