#include "io/plot.hpp"
#include <doctest.h>
#include <cmath>
using namespace fachwerk;
TEST_CASE("x") {
  plot::Figure f{.title="Voltage profile of IEEE 14", .x_label="bus", .y_label=plot::label("voltage","pu")};
  plot::Series a{.name="alpha"}, b{.name="beta, rather long"};
  for(int i=0;i<200;i++){a.x.push_back(i*0.1-5);a.y.push_back(std::sin(i*0.1)); b.x.push_back(i*0.1-5); b.y.push_back(i%50==7?NAN:std::cos(i*0.1)*0.5);}
  f.series={a,b}; plot::save(f,"/tmp/plt/line.png",true); plot::save(f,"/tmp/plt/line.svg",true);
  plot::Figure g{.title="An image", .x_label="column", .y_label="row",.colour_label="reflectance / 1"};
  plot::Image im{.rows=32,.columns=48}; for(int r=0;r<32;r++)for(int c=0;c<48;c++) im.values.push_back(r==3&&c==4?NAN:1e-6*(r*48+c)); g.image=im; plot::save(g,"/tmp/plt/image.png",true);plot::save(g,"/tmp/plt/image.svg",true);
  plot::Figure h{.title="Histogram", .x_label="value", .y_label="count"}; std::vector<double> v; for(int i=0;i<5000;i++) v.push_back(std::sin(i*12.9898)*1e6+std::cos(i*78.233)*1e6); h.histogram=plot::histogram_of(v); plot::save(h,"/tmp/plt/hist.png",true);
  plot::Figure s{.title="Scatter", .x_label="frequency / Hz", .y_label="SNR", .colour_label="time / s",.log_x=true,.log_y=true}; plot::Series p{.points=true}; for(int i=0;i<2000;i++){p.x.push_back(std::exp(3*std::sin(i*1.7)));p.y.push_back(std::exp(4*std::cos(i*2.3)));p.colour.push_back(i);} s.series={p}; plot::save(s,"/tmp/plt/scatter.png",true);
}
